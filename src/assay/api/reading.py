"""`assay.read`, `assay.benchmarks` and `assay.write`."""

from collections.abc import Sequence

import pyarrow as pa

from assay.api.build import build_parts
from assay.artifacts.fingerprint import fingerprint
from assay.artifacts.kinds import Corpus, Export, Selection, check_corpus
from assay.artifacts.storage import Location, location
from assay.artifacts.workspace import Workspace
from assay.corpus.read import find_files, read_corpus
from assay.corpus.write import write_selection
from assay.errors import InputError, check
from assay.proxy.tasks import Task
from assay.scorers import Contamination

_ITEMS_VERSION = 1
_BYTES_PER_TOKEN = 4


def read(
    files: str | Location | Sequence[str | Location],
    *,
    text: str = "text",
    id: str | None = None,
    format: str | None = None,
    extract: str | None = None,
    name: str | None = None,
    max_failed_share: float = 0.0,
    workspace: Workspace | str | Location | None = None,
) -> Corpus:
    """Opens a corpus: Parquet where it lies; all else read once into Parquet.

    That is JSON lines (plain, .gz, .zst), folders of text, HTML files and WARC and WET archives (plain, .gz), of which
    docs/reading.md says more.

    Args:
        files: a path, a folder, a glob ("pool/*.jsonl.zst") or a list of these.
        text: column that holds the text.
        id: column that holds ids; default `id` where there is one, else ids are made from file and line.
        format: "parquet", "jsonl", "text", "html" or "warc"; default by file name.
        extract: what takes the text from web pages, "resiliparse" (default) or "trafilatura". With Parquet and JSON
            lines it says that the text column holds HTML.
        name: what the corpus is called in messages and reports; default from the path.
        max_failed_share: share of rows that may be unusable. Such rows are always kept aside in the corpus's failed/
            folder, with file, line and reason; above this share reading stops.
        workspace: where artifacts are kept; default `.assay` here.

    Raises:
        InputError: files missing, unreadable, empty, or with more bad rows than allowed.
        SchemaError: a column missing or of the wrong type.
        MissingExtraError: web pages, and the extra `html` is not installed.
    """
    return read_corpus(
        files,
        text=text,
        id=id,
        format=format,
        extract=extract,
        name=name,
        max_failed_share=max_failed_share,
        workspace=Workspace(workspace),
    )


def benchmarks(
    files: str | Location | Sequence[str | Location],
    *,
    text: str = "text",
    id: str | None = None,
    format: str | None = None,
    max_failed_share: float = 0.0,
    workspace: Workspace | str | Location | None = None,
) -> dict[str, Corpus]:
    """Opens benchmark sets, one a file, as the targets of `Contamination`: `sets/mmlu/test.jsonl` is "mmlu/test".

    Items may have the fields `context`, `question`, `answer_text` or `answer`; one that has neither context nor
    question is what `text` says. Other arguments are those of `assay.read`.

    Raises:
        InputError: files missing, unreadable, empty, or two with the same folder and name.
        SchemaError: a column missing or of the wrong type.
    """
    found = find_files(files, format)
    names = [f"{file.absolute().parent.name}/{file.name.split('.')[0]}" for file in found]
    for k, name in enumerate(names):
        if name in names[:k]:
            raise InputError(
                f"{found[names.index(name)]} and {found[k]} are both benchmark {name!r}. Rename a file or its folder."
            )
    return {
        name: read_corpus(
            file,
            text=text,
            id=id,
            format=format,
            name=name,
            max_failed_share=max_failed_share,
            workspace=Workspace(workspace),
        )
        for name, file in zip(names, found, strict=True)
    }


def task_items(task: Task, workspace: Workspace) -> Corpus:
    """The items that a task asks as a benchmark set for `Contamination`, each with its right answer."""
    table = _items_table(task)
    mark = fingerprint("items", 1, {}, {"items": table.to_pylist()})
    draft = workspace.open_draft("corpus", f"task-{task.name}", _ITEMS_VERSION, {}, {"items": mark})
    manifest = draft.finished()
    if manifest is None:
        draft.start()
        num_bytes = sum(len(text.encode()) for text in table["text"].to_pylist())
        entries, _, schema = build_parts(draft, lambda _: (table, {}), [num_bytes], f"read {task.name}")
        manifest = draft.finish(
            schema=schema,
            parts=[{**entry, "text_bytes": num_bytes, "label": task.name} for entry in entries],
            counts={"documents": len(table), "failed": {}},
            summary={"estimated_tokens": num_bytes // _BYTES_PER_TOKEN},
        )
    return Corpus(draft.folder, manifest)


def can_be_found(task: Task) -> bool:
    """Whether any item that a task asks has words enough to be looked for in a pool."""
    return Contamination().can_find(_items_table(task).to_batches()[0])


def _items_table(task: Task) -> pa.Table:
    answers = [item.answer_text or item.answers[item.gold] for item in task.items]
    columns = {
        "id": [str(item.id) for item in task.items],
        "text": answers,  # of an item that is nothing but its answers
        "context": [item.context for item in task.items],
        "question": [item.question for item in task.items],
        "answer_text": answers,
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def write(corpus: Corpus, selection: Selection, to: str | Location, *, format: str = "parquet") -> Export:
    """Writes the chosen documents, with all their columns, each as often as it is to be seen.

    Args:
        to: folder; one that Assay wrote before is replaced, any other that is not empty is refused.
        format: "parquet", "jsonl" or "jsonl.zst".

    Raises:
        ArtifactError: the folder holds something else.
        InvalidParameterError: the selection is one of another corpus.
    """
    check_corpus(corpus)
    check(isinstance(selection, Selection), "selection", selection, "a selection, as assay.select(...) makes")
    return write_selection(corpus, selection, location(to), format)
