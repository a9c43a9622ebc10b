"""What everything behind an artifact cost, step by step, read off the manifests."""

from collections.abc import Collection, Iterator
from typing import Any

from assay.artifacts.cost import Cost, total
from assay.artifacts.manifest import Manifest
from assay.artifacts.workspace import Workspace

_VERBS = {
    "corpus": "read",
    "embedder": "fit embedding",
    "embeddings": "embed",
    "scores": "score",
    "tokenizer": "train tokenizer",
    "tokens": "tokenize",
    "selection": "select",
    "model": "train",
    "run": "train",
    "comparison": "compare and report",
    "export": "write",
}
_KEYS = ("wall_seconds", *Cost._fields)


def steps_behind(
    fingerprints: Collection[str], workspace: Workspace, found: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The cost of each step that led to some artifacts, reading first and training last.

    Args:
        fingerprints: of the artifacts; what they were made from follows.
        found: of those that were done before.

    Returns:
        per step its name, the number of `artifacts` (an arm's runs, or its selections, are one step), how many of them
        were `found`, and the keys of a manifest's `cost`. Wall seconds are those of each artifact added up: runs are
        made several at a time.
    """
    steps: dict[str, list[Manifest]] = {}
    for manifest in _behind(fingerprints, workspace):
        steps.setdefault(f"{_verb(manifest)} {manifest.name}", []).append(manifest)
    ordered = sorted(_told_apart(steps), key=lambda step: list(_VERBS).index(step[1][0].kind))
    return [_step(name, manifests, found) for name, manifests in ordered]


def steps_to(manifest: Manifest, workspace: Workspace) -> list[dict[str, Any]]:
    """As `steps_behind`, for one artifact and with the step that made it."""
    behind = steps_behind(list(manifest.inputs.values()), workspace)
    return [*behind, _step(f"{_verb(manifest)} {manifest.name}", [manifest], ())]


def _told_apart(steps: dict[str, list[Manifest]]) -> Iterator[tuple[str, list[Manifest]]]:
    """One step for all runs or selections of a name, and one for each other artifact."""
    for name, manifests in steps.items():
        if manifests[0].kind in ("run", "selection"):
            yield name, manifests
        else:
            yield from ((name, [manifest]) for manifest in manifests)


def _step(name: str, manifests: list[Manifest], found: Collection[str]) -> dict[str, Any]:
    num_found = sum(manifest.fingerprint in found for manifest in manifests)
    costs = total([dict.fromkeys(_KEYS, 0), *(manifest.cost for manifest in manifests)])
    return {"step": name, "artifacts": len(manifests), "found": num_found, **costs}


def _behind(fingerprints: Collection[str], workspace: Workspace) -> Iterator[Manifest]:
    """The manifests of artifacts and of all that they were made from, inputs before what was made of them."""
    folders = {path.parent.name.rsplit("-", 1)[-1]: path.parent for path in workspace.manifests()}
    seen: set[str] = set()

    def visit(fingerprint: Any) -> Iterator[Manifest]:
        if fingerprint in folders and fingerprint not in seen:  # other inputs are files
            seen.add(fingerprint)
            manifest = Manifest.load(folders[fingerprint])
            for one in manifest.inputs.values():
                yield from visit(one)
            yield manifest

    for fingerprint in fingerprints:
        yield from visit(fingerprint)


def _verb(manifest: Manifest) -> str:
    if "refiner" in manifest.parameters:
        return "refine"
    return "split" if "side" in manifest.parameters else _VERBS[manifest.kind]
