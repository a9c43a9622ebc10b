"""`assay.evaluate`: what any language model in a folder knows of held-out text and of benchmark items."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.api.content import path_fingerprint
from assay.artifacts.fingerprint import fingerprint
from assay.artifacts.kinds import ANSWERS, Corpus, Run, check_corpus
from assay.artifacts.manifest import MANIFEST, Manifest
from assay.artifacts.model import Model
from assay.artifacts.storage import Location, atomic_path
from assay.artifacts.workspace import Draft, Workspace
from assay.corpus.sharing import share_one
from assay.errors import check
from assay.models.lm import LM
from assay.models.torch_extra import require
from assay.progress import step
from assay.proxy.evaluate import evaluate as answer
from assay.proxy.evaluate import held_out
from assay.proxy.harness import run_harness
from assay.proxy.tasks import Task, check_names, read_task

VERSION = 1
_ITEMS = "part-00000.parquet"


def evaluate(
    model: Model | str | Path,
    *,
    target: Corpus | Mapping[str, Corpus] | None = None,
    tasks: Sequence[Task | str] = (),
    harness: Sequence[str] = (),
    workspace: Workspace | str | Location | None = None,
) -> Run:
    """Tests a language model, or finds it tested.

    Args:
        model: a trained model, or a folder with a causal language model of Hugging Face's layout.
        target: held-out documents, or several sets by name; their losses are the rows of the run.
        tasks: benchmark files (docs/benchmarks.md), or tasks as `read_task` makes them; see `Run.answers`.
        harness: names of lm-evaluation-harness's own tasks, where that is installed; it may fetch their data. Their
            items stand among the answers.

    Raises:
        InvalidParameterError: nothing to test on, two tasks of one name, or a folder without a model.
        InputError: a benchmark file that cannot be read.
        MissingExtraError: torch, transformers or lm-eval is not installed.
    """
    space = Workspace(workspace)
    targets = {} if target is None else dict(target) if isinstance(target, Mapping) else {"target": target}
    for name, documents in targets.items():
        check_corpus(documents, f"target[{name!r}]")
    asked = [task if isinstance(task, Task) else read_task(task) for task in tasks]
    check(bool(targets or asked or harness), "target", None, "given, or tasks or harness")
    check_names(asked)
    folder = model.path if isinstance(model, Model) else Path(model)
    mark = model.fingerprint if isinstance(model, Model) else path_fingerprint("model", str(model), space)
    inputs = {"model": mark} | {f"heldout.{name}": documents.fingerprint for name, documents in targets.items()}
    inputs |= {f"task.{task.name}": task_mark(task) for task in asked}
    name = model.name if isinstance(model, Model) else folder.resolve().name
    draft = space.open_draft("run", name, VERSION, {"harness": [*harness]}, inputs)
    manifest = draft.finished()
    if manifest is None:
        require("Testing a language model")
        from assay.models.neural_lm import load_lm

        lm = load_lm(folder)
        draft.start()
        share_one(lambda: _test(draft, lm, targets, asked, harness), draft.folder / MANIFEST)
        manifest = Manifest.load(draft.folder)
    return Run(draft.folder, manifest)


def task_mark(task: Task) -> str:
    """What stands for a task and its items in fingerprints."""
    asked = {"form": task.form, "num_shots": task.num_shots, "seed": task.seed}
    return fingerprint("task", 1, asked, {"items": task.mark})


def _test(draft: Draft, lm: LM, targets: Mapping[str, Corpus], tasks: Sequence[Task], harness: Sequence[str]) -> None:
    tables = []
    with step("test", sum(corpus.num_bytes for corpus in targets.values()), "bytes") as advance:
        for name, corpus in targets.items():
            for part in range(corpus.num_parts):
                for batch in corpus.batches(part):
                    found = held_out(lm, batch.column("id").to_pylist(), batch.column("text"))
                    tables.append(found.add_column(1, "target", pa.array([name] * len(found))))
                advance(corpus.manifest.parts[part]["text_bytes"])
    answers = [answer(lm, tasks)] if tasks else []
    answers += [run_harness(lm, harness)] if harness else []
    if answers:
        with atomic_path(draft.folder / ANSWERS) as path:
            pq.write_table(pa.concat_tables(answers), path, compression="zstd", write_page_checksum=True)
    items = pa.concat_tables(tables) if tables else pa.table({"id": pa.array([], pa.string())})
    with atomic_path(draft.folder / _ITEMS) as path:
        pq.write_table(items, path, compression="zstd", write_page_checksum=True)
    draft.finish(
        schema={field.name: str(field.type) for field in items.schema},
        parts=[{"file": _ITEMS, "rows": len(items), "bytes": (draft.folder / _ITEMS).stat().st_size}],
        summary=_summary(items),
    )


def _summary(items: pa.Table) -> dict[str, Any]:
    """Bits per byte of all documents, and of each target's."""
    if "bits" not in items.column_names:
        return {}
    names = items["target"].to_numpy(zero_copy_only=False)
    bits, sizes = items["bits"].to_numpy(), items["bytes"].to_numpy()
    by_target = {
        str(name): float(bits[names == name].sum() / max(1, sizes[names == name].sum())) for name in np.unique(names)
    }
    return {"bits_per_byte": float(bits.sum() / max(1, sizes.sum())), "by_target": by_target}
