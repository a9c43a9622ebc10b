"""MATES in stages: each goes on from the last, chooses by what that one wants, and all is found again."""

from itertools import pairwise

import pytest

import assay
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.recipes.mates import stages
from assay.scorers import Influence
from tests.conftest import make_prose, write_jsonl

pytest.importorskip("torch")

from assay.proxy.gpt import GPT


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[assay.Corpus, assay.Corpus, Workspace]:
    folder = tmp_path_factory.mktemp("mates")
    write_jsonl(folder / "pool.jsonl", make_prose(60, seed=1, topic="g") + make_prose(40, seed=2, topic="t"))
    write_jsonl(folder / "target.jsonl", make_prose(8, seed=4, topic="t"))
    space = Workspace(folder / ".assay")
    pool, target = (assay.read(str(folder / f"{name}.jsonl"), workspace=space) for name in ("pool", "target"))
    return pool, target, space


def test_stages_follow_each_other_and_choose_what_the_target_is_about(
    read: tuple[assay.Corpus, assay.Corpus, Workspace],
) -> None:
    pool, target, space = read
    given = {"num_stages": 3, "influence": Influence(sample=16, max_examples=1), "workspace": space}
    given["proxy"] = GPT(size="1M", vocab_size=300)
    found = stages(pool, target, "9k tokens", **given)  # type: ignore[arg-type]
    assert [stage.spearman is None for stage in found] == [True, False, False]
    assert [stage.persistence is None for stage in found] == [True, True, False]
    for before, after in pairwise(found):
        assert after.model.manifest.inputs["start"] == before.model.fingerprint
    shares = []
    for stage in found:
        repeats = stage.selection.to_table()["repeats"].to_numpy()
        shares.append(repeats[60:].sum() / repeats.sum())
    assert min(shares[1:]) > shares[0]  # of the target's topic
    again = stages(pool, target, "9k tokens", **given)  # type: ignore[arg-type]
    assert [stage.model.fingerprint for stage in again] == [stage.model.fingerprint for stage in found]


def test_one_stage_is_no_mates(read: tuple[assay.Corpus, assay.Corpus, Workspace]) -> None:
    with pytest.raises(InvalidParameterError, match="`num_stages` .=1. must be an integer from 2"):
        stages(*read[:2], "1k tokens", num_stages=1)
