"""The largest clusters of duplicates, as data and as `assay show duplicates` prints them."""

import subprocess
import sys
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

import assay
from assay.api.showing import show
from assay.artifacts.kinds import Corpus, Scores
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError, InvalidParameterError
from tests.conftest import make_documents


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    """Six copies of one document (two with a word less), three of another, and 20 alone."""
    rows = make_documents(22, seed=1, length=100)
    texts = [rows[0]["text"]] * 4 + [rows[0]["text"].rsplit(" ", 1)[0]] * 2 + [rows[1]["text"]] * 3
    texts += [row["text"] for row in rows[2:]]
    return make_corpus([{"id": f"d{k}", "text": text, "source": f"site{k % 2}"} for k, text in enumerate(texts)])


def runs(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[k : k + 5]) for k in range(len(words) - 4)}


def printed(workspace: Workspace, which: str | None = None, width: int = 80) -> str:
    screen = StringIO()
    Console(width=width, file=screen).print(show("duplicates", workspace, which))
    return screen.getvalue()


def test_largest_clusters_come_first_with_their_representative(pool: Corpus) -> None:
    scores = assay.score(pool, "minhash", workspace=pool.folder.parent)
    first, second = assay.duplicates(pool, scores, members=10)
    assert (first.size, second.size) == (len(first.members), len(second.members)) == (6, 3)
    assert {m.id for m in first.members} == {f"d{k}" for k in range(6)}
    assert {m.id for m in second.members} == {"d6", "d7", "d8"}
    table = scores.to_table()
    for cluster in (first, second):
        row = int(cluster.members[0].id[1:])
        assert table["minhash.representative"][row].as_py()
        assert table["minhash.cluster"][row].as_py() == cluster.number
    texts = pool.table(0, ["text"])["text"].to_pylist()
    stands = runs(texts[int(first.members[0].id[1:])])
    for member in first.members:
        own = runs(texts[int(member.id[1:])])
        assert member.jaccard == pytest.approx(len(own & stands) / len(own | stands))
        assert member.source == f"site{int(member.id[1:]) % 2}"
        assert member.characters == len(texts[int(member.id[1:])])
        assert texts[0].startswith(member.beginning)
    assert min(m.jaccard for m in first.members) < 1


def test_limits_hold_and_do_not_change_who_comes_first(pool: Corpus) -> None:
    scores = assay.score(pool, "exact", workspace=pool.folder.parent)
    everything = assay.duplicates(pool, scores, members=10)
    assert [c.size for c in everything] == [4, 3, 2]
    (largest,) = assay.duplicates(pool, scores, clusters=1, members=2)
    assert largest.members == everything[0].members[:2] and largest.size == 4


def test_scores_without_clusters_or_of_another_corpus_are_refused(
    pool: Corpus, make_corpus: Callable[..., Corpus]
) -> None:
    space = pool.folder.parent
    with pytest.raises(InvalidParameterError, match=r"put no documents into clusters. Pass those of assay.Exact"):
        assay.duplicates(pool, assay.score(pool, "length", workspace=space))
    other = make_corpus([{"id": "a", "text": "b"}], "other")
    with pytest.raises(InvalidParameterError, match="another corpus"):
        assay.duplicates(other, assay.score(pool, "exact", workspace=space))
    with pytest.raises(InvalidParameterError, match="`scores` .* must be scores"):
        assay.duplicates(pool, "minhash")  # type: ignore[arg-type]


def test_show_prints_the_last_or_the_named_scores(pool: Corpus) -> None:
    space = Workspace(pool.folder.parent)
    with pytest.raises(ArtifactError, match=r"Nothing in .* has looked for duplicates yet"):
        printed(space)
    scores: dict[str, Scores] = {name: assay.score(pool, name, workspace=space) for name in ("minhash", "exact")}
    for width in (80, 160):
        text = printed(space, "minhash", width)
        assert "29 documents in 22 clusters, 7 could go" in " ".join(text.split())
        assert all(len(line) <= width for line in text.splitlines())
        assert all(f"d{k}" in text for k in (6, 7, 8)) and "site1" in text and "first" in text
    assert printed(space, scores["exact"].fingerprint[:6]).startswith(f"exact {scores['exact'].fingerprint}")
    assert printed(space).startswith("exact")
    with pytest.raises(ArtifactError, match=r"No scores with clusters in .* match 'nix'. There: minhash \("):
        printed(space, "nix")
    with pytest.raises(ArtifactError, match="'exact' can only follow 'duplicates'"):
        show("minhash", space, "exact")


def test_the_command_line_shows_them(pool: Corpus) -> None:
    space = pool.folder.parent
    assay.score(pool, "minhash", workspace=space)
    command = [sys.executable, "-m", "assay.cli", "show", "duplicates", "minhash", "--workspace", str(space)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "29 documents in 22 clusters, 7 could go" in " ".join(run.stdout.split())
    assert "first" in run.stdout


def test_no_duplicates_is_said(make_corpus: Callable[..., Corpus]) -> None:
    corpus = make_corpus(make_documents(5, seed=2))
    assay.score(corpus, "exact", workspace=corpus.folder.parent)
    assert "5 documents in 5 clusters, 0 could go" in " ".join(printed(Workspace(corpus.folder.parent)).split())


def test_quantiles_of_clusters_can_be_shown(pool: Corpus) -> None:
    scores = assay.score(pool, "exact", workspace=pool.folder.parent)
    screen = StringIO()
    Console(width=120, file=screen).print(show(scores.fingerprint, Workspace(pool.folder.parent)))
    assert "exact.representative" in screen.getvalue()
