"""Trajectories and learnability: planted ways of being learnt, the paper's balance, the order of checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest

import assay
from assay import Learnability, Trajectories
from assay.artifacts.kinds import Corpus
from assay.errors import InvalidParameterError
from assay.models.calibration import area_under_curve
from assay.scorers.checkpoints import folders
from assay.selection.policies import Quota
from tests.conftest import make_prose, words


def planted(number: int) -> list[dict[str, str]]:
    """Three kinds: one phrase over and over (easy at once), prose with rules (learnt with time), noise (never)."""
    rng = np.random.default_rng(0)
    easy = [" ".join(["the same old words"] * int(rng.integers(15, 25))) for _ in range(number)]
    rules = [document["text"] for document in make_prose(number, seed=1, topic="p", length=80, vocabulary=150)]
    noise = [" ".join(f"{x:x}" for x in rng.integers(0, 1 << 40, 20)) for _ in range(number)]
    kinds = {"easy": easy, "rules": rules, "noise": noise}
    return [
        {"id": f"{kind}-{k}", "text": text, "source": kind}
        for kind, texts in kinds.items()
        for k, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("pool")
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, planted(250))))
    return assay.read(str(folder / "pool.jsonl"), workspace=folder / "w")


def kinds_of(pool: Corpus) -> np.ndarray:
    return np.concatenate(
        [pool.table(k, ["source"])["source"].to_numpy(zero_copy_only=False) for k in range(pool.num_parts)]
    )


def test_planted_trajectories_are_recovered(pool: Corpus, tmp_path: Path) -> None:
    scores = assay.score(pool, Trajectories(num_clusters=6, vocab_size=512), workspace=tmp_path)
    table, kinds = scores.to_table(), kinds_of(pool)
    clusters = table["trajectories.cluster"].to_numpy()
    pure = sum(np.unique(kinds[clusters == c], return_counts=True)[1].max() for c in np.unique(clusters))
    assert pure / len(kinds) > 0.97
    drop, end = table["trajectories.drop"].to_numpy(), table["trajectories.end"].to_numpy()
    assert drop[kinds == "rules"].mean() > 3 * abs(drop[kinds == "noise"].mean())
    assert end[kinds == "easy"].mean() < end[kinds == "rules"].mean() < end[kinds == "noise"].mean()
    losses = scores.manifest.summary["mean_losses"]
    assert losses == sorted(losses, reverse=True) and scores.manifest.summary["clusters"] == 6


def test_a_document_is_judged_by_what_others_teach(tmp_path: Path) -> None:
    """Noise that is in the sample has as high a loss as noise that is not."""
    noise = [{"id": f"{k}", "text": " ".join(words(30, seed=k, vocabulary=2000, topic=f"x{k}"))} for k in range(80)]
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, noise)))
    pool = assay.read(str(tmp_path / "pool.jsonl"), workspace=tmp_path / "w")
    every, half = (
        assay.score(
            pool, Trajectories(num_clusters=2, vocab_size=512, sample=sample), workspace=tmp_path / "w"
        ).to_table()
        for sample in (80, 40)
    )
    ends = [table["trajectories.end"].to_numpy() for table in (every, half)]
    assert ends[0].mean() > 0.85 * ends[1].mean()


def test_what_can_be_learnt_comes_before_the_easy_and_before_noise(pool: Corpus, tmp_path: Path) -> None:
    table, kinds = assay.score(pool, Learnability(vocab_size=512), workspace=tmp_path).to_table(), kinds_of(pool)
    drop = table["learnability.drop"].to_numpy()
    for other in ("easy", "noise"):
        both = (kinds == "rules") | (kinds == other)
        assert area_under_curve(drop[both], kinds[both] == "rules") > 0.95
    late, early = table["learnability.loss"].to_numpy(), table["learnability.early"].to_numpy()
    np.testing.assert_allclose(early - late, drop, atol=2e-4)
    assert area_under_curve(late, kinds == "noise") > 0.99  # loss alone puts noise first


def test_equal_shares_are_the_papers_balance() -> None:
    """Yang et al.: clusters from the smallest on, each gives at most what is left over those that are left."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = {f"{k}": float(size) for k, size in enumerate(rng.integers(1, 400, rng.integers(1, 20)))}
        budget = float(rng.integers(1, int(sum(sizes.values())) + 1))
        expected, left = {}, budget
        for place, name in enumerate(sorted(sizes, key=lambda name: (sizes[name], name))):
            expected[name] = min(sizes[name], left / (len(sizes) - place))
            left -= expected[name]
        found = Quota(by="trajectories.cluster", shares="equal").group_budgets(budget, sizes)
        assert found == pytest.approx(expected)
        assert sum(found.values()) == pytest.approx(budget)


def test_checkpoints_stand_by_their_numbers(tmp_path: Path) -> None:
    for name in ("step-1000", "step-500", "step-20", "other"):
        (tmp_path / "run" / name).mkdir(parents=True)
        if name != "other":
            (tmp_path / "run" / name / "config.json").write_text("{}")
    found = folders(str(tmp_path / "run"))
    assert [Path(path).name for path in found] == ["step-20", "step-500", "step-1000"]
    assert folders(("b", "a")) == ("b", "a")
    (tmp_path / "run" / "final").mkdir()
    (tmp_path / "run" / "final" / "config.json").write_text("{}")
    with pytest.raises(InvalidParameterError, match="differ in numbers alone, not final and step-#.* Give a list"):
        folders(str(tmp_path / "run"))
    assert len(folders(str(tmp_path / "run"), 1)) == 4 and len(folders(str(tmp_path / "run" / "final"), 1)) == 1
    with pytest.raises(InvalidParameterError, match="`models` .*at least 2 checkpoints"):
        folders(str(tmp_path / "run" / "other"))
    with pytest.raises(InvalidParameterError, match="`models` .*a folder that is there"):
        folders(str(tmp_path / "nowhere"))


def test_bad_parameters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="`models` .*at least 2 folders"):
        Learnability(models=("one",))
    with pytest.raises(InvalidParameterError, match="`sample` .*at least `num_clusters`"):
        Trajectories(num_clusters=500, sample=100)
    with pytest.raises(InvalidParameterError, match="do not make two halves"):
        (tmp_path / "pool.jsonl").write_text(json.dumps({"id": "1", "text": "alone"}))
        alone = assay.read(str(tmp_path / "pool.jsonl"), workspace=tmp_path / "w")
        assay.score(alone, Trajectories(), workspace=tmp_path / "w")
