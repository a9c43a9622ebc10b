"""The folder that holds every artifact, found again by what made it."""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from assay.artifacts import cost
from assay.artifacts.claims import sweep_claims
from assay.artifacts.fingerprint import file_fingerprint, fingerprint
from assay.artifacts.manifest import MANIFEST, Manifest, atomic_path, remove_abandoned
from assay.artifacts.process import own_name
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import NUM_REQUESTS, Location, location, remove_folder, scratch_folder, scratch_for
from assay.errors import ArtifactError, check

DEFAULT_WORKSPACE = ".assay"
_FILES = "files.json"
_DRAFT = "draft.json"  # while the artifact is being made: what it is called and made from
_COST = "cost-*.json"  # one of each process that has worked on an unfinished artifact
_KEEP_SECONDS = 1.0
_REMEMBER_SECONDS = 10.0


class NotMade(Exception):
    """Something is not in the workspace, and is only looked for."""


class Workspace:
    """A folder of artifacts, local or on an object store (s3://bucket/folder); created when first written to.

    Args:
        root: the folder; default the environment variable ASSAY_WORKSPACE, else `.assay` here.

    found, made: fingerprints of artifacts that were opened since and had been there, and of those made since.
    """

    def __init__(self, root: "str | Location | Workspace | None" = None):
        check(root is None or isinstance(root, str | Location | Workspace), "workspace", root, "a folder")
        given = root.root if isinstance(root, Workspace) else root
        place = location(given or os.environ.get("ASSAY_WORKSPACE") or DEFAULT_WORKSPACE)
        check(getattr(place, "scheme", "") != "hf", "workspace", str(place), "a folder, s3://... or gs://...")
        self.root: Location = place.absolute()
        self.is_looking: bool = isinstance(root, Workspace) and root.is_looking
        self.found: set[str] = root.found if isinstance(root, Workspace) else set()
        self.made: set[str] = root.made if isinstance(root, Workspace) else set()

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    def looking(self) -> "Workspace":
        """The same workspace to look into: where something would have to be made, `NotMade` is raised."""
        other = Workspace(self)
        other.is_looking = True
        return other

    def open_draft(
        self, kind: str, name: str, version: int, parameters: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> "Draft":
        """The folder for the artifact that these things make: finished, half-done or new."""
        mark = fingerprint(kind, version, parameters, inputs)
        folder = self.root / f"{kind}-{_safe(name)}-{mark}"
        return Draft(self, folder, kind, name, mark, version, dict(parameters), dict(inputs))

    def manifests(self, folders: str = "*") -> list[Location]:
        """The manifest of each finished artifact whose folder's name fits the pattern, by name."""
        found: list[Location] = [*self.root.glob(f"{folders}/{MANIFEST}")]
        return sorted(found, key=str)

    def find(self, mark: str) -> Location:
        """Folder of the one finished artifact that `mark` means: its name ("dsir") or (the start of) its fingerprint.

        Raises:
            ArtifactError: none or several match; the message lists what there is.
        """
        folders = [path.parent for path in self.manifests()]
        by_mark = [f for f in folders if f.name == mark or f.name.rsplit("-", 1)[-1].startswith(mark)]
        matches = by_mark or [f for f in folders if f.name.rsplit("-", 1)[0].endswith(f"-{_safe(mark)}")]
        if len(matches) == 1:
            return matches[0]
        listed = ", ".join(f.name for f in (matches or folders)[:10]) or "nothing yet"
        raise ArtifactError(
            f"{len(matches) or 'No'} artifacts in {self.root} match {mark!r}. There: {listed}. Give more of the name."
        )

    def file_fingerprint(self, path: Location) -> str:
        """Content hash of a file; remembered for as long as its size and its times of change stay the same.

        Of an object, what its store says of the content.
        """
        return path.fingerprint() if isinstance(path, RemotePath) else self._local_fingerprints([path])[0]

    def file_fingerprints(self, paths: Sequence[Location]) -> list[str]:
        """`file_fingerprint` of each; objects are asked for several at a time."""
        local = [path for path in paths if isinstance(path, Path)]
        found: dict[Location, str] = dict(zip(local, self._local_fingerprints(local), strict=True))
        remote = [path for path in paths if isinstance(path, RemotePath)]
        with ThreadPoolExecutor(NUM_REQUESTS) as pool:
            found |= zip(remote, pool.map(RemotePath.fingerprint, remote), strict=True)
        return [found[path] for path in paths]

    def _local_fingerprints(self, paths: Sequence[Path]) -> list[str]:
        """What is remembered is read once for all, and written now and then: there may be 100,000 files."""
        known = self._known_files() if paths else {}
        new: dict[str, list[Any]] = {}
        marks, kept = [], time.monotonic()
        try:
            for path in paths:
                name, stat = str(path.absolute()), path.stat()
                state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]  # a copy may keep the second, not the third
                entry = new.get(name) or known.get(name)
                if not isinstance(entry, list) or entry[:-1] != state:
                    entry = new[name] = [*state, file_fingerprint(path)]
                    if time.monotonic() - kept >= _REMEMBER_SECONDS:
                        self._remember(new)
                        kept = time.monotonic()
                marks.append(entry[-1])
        finally:
            self._remember(new)
        return marks

    def _remember(self, new: Mapping[str, list[Any]]) -> None:
        if new:
            make_folder(self._local)
            with atomic_path(self._local / _FILES) as temporary:
                temporary.write_text(json.dumps(self._known_files() | dict(new)), encoding="utf-8")

    @property
    def _local(self) -> Path:
        """Where to remember what is true of this machine only."""
        return self.root if isinstance(self.root, Path) else scratch_folder()

    def _known_files(self) -> dict[str, list[Any]]:
        try:
            known = json.loads((self._local / _FILES).read_text(encoding="utf-8"))
            return known if isinstance(known, dict) else {}
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}


class Draft:
    """An artifact being made: parts are put into the folder one by one, the manifest last."""

    def __init__(
        self,
        workspace: Workspace,
        folder: Location,
        kind: str,
        name: str,
        mark: str,
        version: int,
        parameters: dict[str, Any],
        inputs: dict[str, Any],
    ):
        self._workspace = workspace
        self.folder, self.kind, self.name, self.fingerprint = folder, kind, name, mark
        self.version, self.parameters, self.inputs = version, parameters, inputs
        self._meter, self._kept = cost.Meter(), 0.0
        self._own_cost = folder / _COST.replace("*", uuid.uuid4().hex)

    def finished(self) -> Manifest | None:
        """The manifest when the artifact is whole, None when work is left; a damaged artifact is deleted.

        It is put aside first: of several processes that find the damage only one deletes, and only what it found.

        Raises:
            ArtifactError: it is damaged, and its folder a link to somewhere else, where nothing is deleted.
        """
        if not (self.folder / MANIFEST).exists():
            return None
        try:
            manifest = Manifest.load(self.folder)
            if (manifest.kind, manifest.fingerprint) == (self.kind, self.fingerprint):
                if self.fingerprint not in self._workspace.made:
                    self._workspace.found.add(self.fingerprint)
                if isinstance(self.folder, Path) and (self.folder / _DRAFT).exists():
                    self._sweep(kept_costs(self.folder))  # who finished was killed before it did
                return manifest
        except ArtifactError as error:
            if isinstance(self.folder, Path) and self.folder.is_symlink():
                raise ArtifactError(f"{error} It is a link, so this is left to you.") from None
        aside = self.folder
        with suppress(FileNotFoundError):
            if isinstance(self.folder, Path):
                aside = self.folder.with_name(f".{self.folder.name}.{own_name()}.tmp")
                os.rename(self.folder, aside)
            remove_folder(aside)
        return None

    def or_finished(self, make: Callable[[], Manifest]) -> Manifest:
        """What `make` returns; or the manifest of a process that finished first, and cleared away what `make` needs."""
        try:
            return make()
        except FileNotFoundError:
            if (done := self.finished()) is None:
                raise
            return done

    def start(self) -> None:
        """Makes the folder, or takes up the one that an interrupted run left.

        Raises:
            NotMade: the workspace is only looked at.
        """
        if self._workspace.is_looking:
            raise NotMade(self.folder.name)
        make_folder(self.folder)
        local = self.folder if isinstance(self.folder, Path) else scratch_folder()
        for folder in (local, *(path for path in local.iterdir() if path.is_dir())):
            remove_abandoned(folder)
        if isinstance(self.folder, Path):
            remove_abandoned(self.folder.parent)
        with atomic_path(self.folder / _DRAFT) as path:
            path.write_text(json.dumps({"name": self.name, "inputs": self.inputs}), encoding="utf-8")
        if (self.folder / MANIFEST).exists():  # another process has finished meanwhile, and removed what it saw
            (self.folder / _DRAFT).unlink(missing_ok=True)
        self._meter, self._kept = cost.Meter(), time.monotonic()

    def keep_cost(self, at_once: bool = False) -> None:
        """Leaves beside the parts what this process has spent on them; to be called after each, writes once a second.

        So a process that is killed, or one of several that share the parts, leaves its bill to the one that finishes.
        """
        if at_once or time.monotonic() - self._kept >= _KEEP_SECONDS:
            self._kept = time.monotonic()
            with atomic_path(self._own_cost) as path:
                path.write_text(json.dumps(self._meter.read()), encoding="utf-8")

    @property
    def scratch(self) -> Path:
        """A local folder for what passes between the steps of making this: its own where that is local."""
        return scratch_for(self.folder)

    def finish(self, **content: Any) -> Manifest:
        """Writes the manifest, after which the artifact is whole; one that another process has written stands."""
        with suppress(ArtifactError):
            manifest = Manifest.load(self.folder)
            self._own_cost.unlink(missing_ok=True)
            return manifest
        kept = kept_costs(self.folder)
        others = [spent for path, spent in kept.items() if path != self._own_cost]
        manifest = Manifest(
            kind=self.kind,
            name=self.name,
            fingerprint=self.fingerprint,
            version=self.version,
            parameters=self.parameters,
            inputs=self.inputs,
            **content,
            cost=cost.total([*others, self._meter.book()]),
        )
        manifest.save(self.folder)
        self._workspace.made.add(self.fingerprint)
        self._sweep(kept)
        return manifest

    def _sweep(self, costs: Iterable[Location]) -> None:
        """Removes what only an unfinished artifact needs."""
        sweep_claims(self.folder)
        for path in (*costs, self.folder / _DRAFT):
            path.unlink(missing_ok=True)


def kept_costs(folder: Location) -> dict[Location, dict[str, float]]:
    """What each process has spent so far on an artifact that is not finished, by the file that says so.

    A bill that cannot be read is nothing spent.
    """
    found: dict[Location, dict[str, float]] = {}
    for path in [*folder.glob(_COST)]:
        with suppress(FileNotFoundError):  # another process has just finished the artifact
            try:
                spent = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                spent = None
            found[path] = spent if cost.is_cost(spent) else {}
    return found


def read_draft(folder: Location) -> dict[str, Any]:
    """`name` and `inputs` of an artifact that is being made; empty when it is finished, or nothing is known of it."""
    try:
        return json.loads((folder / _DRAFT).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def make_folder(folder: Location) -> None:
    """Makes a folder of the workspace, or finds it made. An object store has no folders, but must have the bucket.

    Raises:
        ArtifactError: it cannot be made.
        StorageError: there is no such bucket, or it cannot be looked at.
    """
    if isinstance(folder, RemotePath):
        folder.require_writable()
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"Cannot write to the workspace: {folder} cannot be made ({error.strerror}). "
            "Choose another with --workspace (or ASSAY_WORKSPACE)."
        ) from error


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name)[:40]
