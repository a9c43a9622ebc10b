"""`assay show` and the facts of arms, where something is amiss or unusual."""

from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import assay
from assay.api.showing import show
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError
from tests.conftest import make_documents, make_prose, write_jsonl


def shown(thing: str | None, workspace: Workspace) -> str:
    screen = StringIO()
    Console(width=200, file=screen).print(show(thing, workspace))
    return screen.getvalue()


def test_the_list_goes_on_past_a_damaged_artifact(tmp_path: Path, workspace: Workspace) -> None:
    corpora = [
        assay.read(write_jsonl(tmp_path / f"{name}.jsonl", make_documents(20, seed=k)), name=name, workspace=workspace)
        for k, name in enumerate(("first", "second"))
    ]
    corpora[0].part_path(0).unlink()
    text = shown(None, workspace)
    assert "second" in text and "1 artifacts in" in text
    assert f"damaged: {corpora[0].part_path(0)} is missing" in text.replace("\n", " ")


def test_a_folder_of_yours_does_not_hide_the_artifact_of_its_name(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pool").mkdir()
    write_jsonl(tmp_path / "pool" / "a.jsonl", make_documents(20))
    assay.read(tmp_path / "pool", workspace=workspace)
    monkeypatch.chdir(tmp_path)
    assert "Corpus" in shown("pool", workspace)
    with pytest.raises(ArtifactError, match="pool has no manifest.json"):
        shown("./pool/../pool", workspace)


def compared(folder: Path, source: Any, arm: dict[str, Any]) -> assay.Comparison:
    documents = make_prose(300, seed=1, topic="g")
    columns = {name: [d[name] for d in documents] for name in ("id", "text")}
    pq.write_table(pa.table({**columns, "source": [source] * 300, "rank": range(300)}), folder / "pool.parquet")
    write_jsonl(folder / "target.jsonl", make_prose(20, seed=2, topic="t"))
    recipe = {
        "pool": str(folder / "pool.parquet"),
        "target": str(folder / "target.jsonl"),
        "budget": "3k tokens",
        "seeds": 2,
        "pool_sample": 1,
        "proxy": {"ngram": {"order": 2, "vocab_size": 400}},
        "arms": {"arm": arm},
    }
    return assay.compare(recipe, workspace=folder / "workspace")


@pytest.mark.parametrize("source", [{"site": "a"}, ["a"], b"\xff\xfe"], ids=["struct", "list", "binary"])
def test_a_source_that_is_no_text_is_passed_over(tmp_path: Path, source: Any) -> None:
    comparison = compared(tmp_path, source, {"score": "rank"})
    assert list(comparison.arms["arm"]["composition"]["pool"]) == ["pool.parquet"]


@pytest.mark.parametrize(
    ("by", "worst"), [("rank", lambda scores: min(scores)), ("overlap.share", lambda scores: max(scores))]
)
def test_the_cut_is_the_worst_score_that_was_chosen(tmp_path: Path, by: str, worst: Any) -> None:
    comparison = compared(tmp_path, "a", {"score": by, "select": "top"})
    pool = next((tmp_path / "workspace").glob("corpus-pool-*"))
    selection = next((tmp_path / "workspace").glob(f"selection-arm-{comparison.arms['arm']['selection']}"))
    taken = assay.Selection(selection).repeats(0) > 0
    if by == "rank":
        scores = assay.Corpus(pool).table(0, ["rank"])["rank"].to_numpy()
    else:
        guard = next((tmp_path / "workspace").glob("scores-overlap-*"))
        scores = assay.Scores(guard).table(0, [by])[by].to_numpy()
    assert comparison.arms["arm"]["worst_chosen_score"] == worst(scores[taken])


@pytest.mark.parametrize("content", ["[1]", "{}", "{"])
def test_what_is_no_comparison_is_refused(tmp_path: Path, workspace: Workspace, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ArtifactError, match="x.json is not a comparison.json of this version"):
        show(str(tmp_path / "x.json"), workspace)


def test_columns_of_text_are_shown_by_their_commonest_values(tmp_path: Path, workspace: Workspace) -> None:
    rows = [{"id": f"{k}", "text": "The weather will be fine tomorrow, so we walk."} for k in range(3)]
    rows.append({"id": "x", "text": "Завтра будет хорошая погода, поэтому мы пойдём пешком."})
    scores = assay.score(
        assay.read(write_jsonl(tmp_path / "pool.jsonl", rows), workspace=workspace), "language", workspace=workspace
    )
    text = shown("language", workspace)
    assert "en 3, ru 1" in text and "Latn 3, Cyrl 1" in text
    assert text == shown(scores.fingerprint, workspace)


def test_figures_of_the_fit_are_shown_with_the_scores(tmp_path: Path, workspace: Workspace) -> None:
    rows = make_prose(60, seed=1, topic="g") + make_prose(60, seed=2, topic="t")
    labels = write_jsonl(tmp_path / "labels.jsonl", [row | {"label": "ab"[k // 60]} for k, row in enumerate(rows)])
    pool = assay.read(labels, name="pool", workspace=workspace)
    scores = assay.score(pool, assay.Classifier(labels=str(labels), positive="b"), workspace=workspace)
    told = scores.manifest.summary
    text = shown(scores.fingerprint, workspace)
    assert f"held_out: {told['held_out']}" in text and f"auc: {told['auc']:.4g}" in text
