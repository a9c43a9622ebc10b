"""Stop words and thresholds per language: the arithmetic by hand, FineWeb2's lists, and real text in four languages."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay import Calibration, Heuristics
from assay.api.recipe import Arm, Recipe
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.selection.expressions import Expression
from tests.conftest import write_jsonl

RULES = "passes('gopher', 'fineweb')"
# huggingface/fineweb-2, configs/{swh_Latn,hau_Latn,som_Latn,fra_Latn}.yml, made from Wikipedia.
FINEWEB2_STOP_WORDS = {
    "swa": "ya na wa katika kwa ni la za mwaka",
    "hau": "da a na ta ya kuma cikin ba",
    "som": "oo iyo ka ah ee ku u waa la waxaa ay soo uu waxay",
    "fra": "de la le et à en l' des du les est d' un une il dans par au",
}
# max_non_alpha_words_ratio there, which is the least share of words with a letter.
FINEWEB2_ALPHA_WORDS = {"swa": 0.802, "hau": 0.833, "som": 0.831, "fra": 0.812}


def rows(texts: list[str]) -> list[dict[str, Any]]:
    return [{"id": str(k), "text": text} for k, text in enumerate(texts)]


def text_of(sizes: list[int], seed: int) -> str:
    """Words of these lengths, each its own."""
    rng = np.random.default_rng(seed)
    return " ".join("".join(rng.choice(list("abcdefghij"), size)) for size in sizes)


@pytest.fixture
def planted(make_corpus: Callable[..., Corpus]) -> Callable[..., Corpus]:
    """planted(a, b, name): 100 documents, of 100 words each; half of them have words of length a, half of length b.

    Document k has k numbers instead of words in it.
    """

    def make(a: int, b: int, name: str) -> Corpus:
        texts = []
        for k in range(100):
            size = a if k % 2 else b
            texts.append(text_of([size] * (100 - k), k) + f" {10 ** (size - 1)}" * k)
        return make_corpus(rows(texts), name)

    return make


def test_thresholds_are_quantiles_or_carried_over_by_mean_and_spread(
    planted: Callable[..., Corpus], workspace: Workspace
) -> None:
    reference, english = planted(4, 6, "reference"), planted(2, 6, "english")
    found = assay.calibrate(reference, english=english, workspace=workspace).thresholds
    # Shares of words with a letter are 0.01, 0.02 ... 1: ten of a hundred documents lie below the eleventh.
    assert found["gopher.too_few_alpha_words"] == pytest.approx(0.11)
    # English lengths have mean 4 and deviation 2, so that 10 lies 3 deviations up; here they have mean 5, deviation 1.
    assert found["gopher.words_too_long"] == pytest.approx(5 + 3 * 1)
    # 3 lies half a deviation down: 4.5 here, which would leave out half of the documents, so it is the shortest words.
    assert found["gopher.words_too_short"] == pytest.approx(4)
    assert found["gopher.too_few_words"] == 50 and found["fineweb.repeated_line_chars"] == 0.1
    assert found["fineweb.too_many_short_lines"] == 1
    alone = assay.calibrate(reference, workspace=workspace)
    assert alone.thresholds["gopher.words_too_long"] == 10 and alone.thresholds["gopher.words_too_short"] == 3
    # Numbers repeat: the 30 longest runs of them exceed a fifth of the text, and only ten documents may be left out.
    assert alone.thresholds["gopher.top_2gram"] > 0.2 and alone.dropped["gopher.top_2gram"] == 0.1
    assert max(alone.dropped.values()) <= 0.1
    strict = assay.calibrate(reference, tail=0.25, workspace=workspace)
    assert strict.thresholds["gopher.too_few_alpha_words"] == pytest.approx(0.26)
    assert strict.dropped["gopher.too_few_alpha_words"] == 0.25


def test_stop_words_are_the_frequent_ones_and_at_least_eight(
    make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    frequent = {f"w{k}": 30 - k for k in range(20)}  # the least, 11 of 1,000 words, is above 0.8 %
    rare = [f"r{k}" for k in range(1000 - sum(frequent.values()))]
    words = [word for word, count in frequent.items() for _ in range(count)] + rare
    np.random.default_rng(0).shuffle(words)
    texts = [" ".join(words[k : k + 20]) + " , . 12 12 12" for k in range(0, 1000, 20)]
    corpus = make_corpus(rows(texts))
    assert assay.calibrate(corpus, workspace=workspace).stop_words == tuple(frequent)
    even = make_corpus(rows([f"{' '.join(f'x{k}y{i}' for i in range(9))} B A A" for k in range(50)]), "even")
    fewer = assay.calibrate(even, workspace=workspace).stop_words
    assert fewer[:2] == ("A", "B") and fewer[2:] == tuple(sorted(f"x{k}y{i}" for k in range(50) for i in range(9)))[:6]


def test_neither_files_nor_batches_change_what_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text_of([2, 3, 1] * (5 + k % 9), k % 40) for k in range(120)]
    whole = assay.read(write_jsonl(tmp_path / "all.jsonl", rows(texts)), workspace=tmp_path / "w")
    for k in range(3):
        write_jsonl(tmp_path / f"part{k}.jsonl", rows(texts)[40 * k : 40 * k + 40])
    parts = assay.read(tmp_path / "part*.jsonl", workspace=tmp_path / "w")
    expected = assay.calibrate(whole, workspace=tmp_path / "w")
    monkeypatch.setattr("assay.artifacts.kinds._MAX_BATCH_ROWS", 7)
    assert parts.num_parts == 3
    assert assay.calibrate(parts, workspace=tmp_path / "w2") == expected
    counts = Counter(word for text in texts for word in text.split())
    assert counts[expected.stop_words[0]] == max(counts.values())


def test_it_is_saved_loaded_and_printed(tmp_path: Path) -> None:
    made = Calibration(
        stop_words=("und", "für"), thresholds={"gopher.words_too_long": 12.5, "fineweb.too_many_newlines": 0.2}
    )
    made.save(tmp_path / "de.yaml")
    assert Calibration.load(tmp_path / "de.yaml") == made
    assert "für" in (tmp_path / "de.yaml").read_text(encoding="utf-8")
    lines = str(made).split("\n")
    assert lines[0] == "stop words: und, für" and len(lines) == 4
    assert lines[2].split() == ["gopher.words_too_long", "<=", "10", "12.5"]
    (tmp_path / "few.yaml").write_text("thresholds: {gopher.too_few_words: 1e1}")
    assert Calibration.load(tmp_path / "few.yaml") == Calibration(thresholds={"gopher.too_few_words": 10.0})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("stopwords: [a]", "has no 'stopwords'; it takes .*Did you mean 'stop_words'"),
        (
            "thresholds: {gopher.word_too_long: 3}",
            r"must be one of gopher.too_few_words.*Did you mean 'gopher.words_too",
        ),
        (
            "thresholds: {gopher.words_too_long: long}",
            r"`thresholds.gopher.words_too_long` \(='long'\) must be a number",
        ),
        ("stop_words: the", "`stop_words` .='the'. must be a list of at most 64 different words"),
        ("- a", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("stop_words: [a]\nstop_words: [b]", "'stop_words' stands twice"),
    ],
)
def test_a_bad_file_is_answered(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "de.yaml").write_text(content)
    with pytest.raises(InvalidParameterError, match=problem):
        Calibration.load(tmp_path / "de.yaml")
    with pytest.raises(InvalidParameterError, match="There is no calibration .*fr.yaml. `assay.calibrate"):
        Calibration.load(tmp_path / "fr.yaml")


def test_bad_references_are_answered(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    enough = make_corpus(rows([text_of([5] * 9, k) for k in range(60)]))
    with pytest.raises(InvalidParameterError, match=r"`tail` \(=0.7\) must be a share from 0 to 0.5"):
        assay.calibrate(enough, tail=0.7, workspace=workspace)
    few = make_corpus(rows(["one two"] * 9), "few")
    with pytest.raises(InvalidParameterError, match=r"`corpus` \(='few'\) has 9 documents and must have at least 50"):
        assay.calibrate(few, workspace=workspace)
    with pytest.raises(InvalidParameterError, match=r"`english` \(='few'\) has 9 documents"):
        assay.calibrate(enough, english=few, workspace=workspace)
    silent = make_corpus(rows(["1 2 3 !"] * 60), "silent")
    with pytest.raises(InvalidParameterError, match="has 0 different words; stop words need 8"):
        assay.calibrate(silent, workspace=workspace)


def recipe(calibration: object, arms: dict[str, Any]) -> Recipe:
    content = {"pool": "p.jsonl", "target": "t.jsonl", "budget": "2M tokens", "arms": arms, "calibration": calibration}
    return Recipe.from_dict(content)


def test_a_recipe_takes_its_stop_words_and_thresholds_from_it(tmp_path: Path) -> None:
    german = Calibration(stop_words=("und", "der"), thresholds={"c4.too_few_sentences": 2, "gopher.too_few_words": 9})
    arms = {
        "clean": {"where": "lang = 'de' and passes('c4')"},
        "own": {"where": "passes('c4', too_few_sentences = 7) or passes('gopher_quality')"},
        "scored": {"score": "heuristics", "where": "length.words > 3"},
        "english": {"score": {"heuristics": {"stop_words": ["the"]}}, "where": "length.words > 3"},
    }
    found = recipe(german, arms).arms
    assert found["random"] == Arm()
    assert found["clean"].where == "lang = 'de' and passes('c4', c4.too_few_sentences = 2)"
    assert found["clean"].scorers() == [german.scorer()]
    assert found["own"].where == (
        "passes('c4', too_few_sentences = 7) or passes('gopher_quality', gopher.too_few_words = 9)"
    )
    assert found["scored"].scorer == german.scorer() and found["scored"].by == "gopher.word_count"
    assert found["english"].scorer == Heuristics(stop_words=("the",))
    inline = {"stop_words": ["und", "der"], "thresholds": dict(german.thresholds)}
    assert recipe(inline, arms).arms == found
    german.save(tmp_path / "de.yaml")
    (tmp_path / "recipe.yaml").write_text(
        f"pool: p.jsonl\ntarget: t.jsonl\nbudget: 2M tokens\narms: {json.dumps(arms)}\ncalibration: de.yaml\n"
    )
    assert Recipe.load(tmp_path / "recipe.yaml").arms == found
    with pytest.raises(InvalidParameterError, match="calibration: `thresholds` .='c4.x'. must be one of"):
        recipe({"thresholds": {"c4.x": 1}}, arms)


def test_other_thresholds_recompute_no_score(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    pool = make_corpus(rows([text_of([3] * (20 + k), k) for k in range(60)]))
    made = assay.calibrate(pool, workspace=workspace)
    scores = assay.score(pool, made.scorer(), workspace=workspace)
    before = sorted(path.name for path in workspace.root.glob("scores-*"))
    sizes = []
    for least in (30, 60):
        changed = Calibration(stop_words=made.stop_words, thresholds={**made.thresholds, "gopher.too_few_words": least})
        again = assay.score(pool, changed.scorer(), workspace=workspace)
        where = changed.where("passes('gopher_quality')")
        chosen = assay.select(pool, scores=again, where=where, budget="10 documents", workspace=workspace)
        assert again == scores
        sizes.append(chosen.manifest.summary["eligible"])
    assert sorted(path.name for path in workspace.root.glob("scores-heuristics-*")) == before
    assert sizes == [50, 20]


@pytest.fixture(scope="module")
def news(shared: Path) -> dict[str, list[str]]:
    """News in some languages, by language."""
    found: dict[str, list[str]] = {}
    for name in ("multilingual", "news"):
        with pa.input_stream(str(shared / f"pool/{name}.jsonl.zst"), compression="zstd") as stream:
            for line in stream.read().decode().split("\n"):
                if "masakhane-io" in line:
                    document = json.loads(line)
                    found.setdefault(document["lang"] or "eng", []).append(document["text"])
    return found


def kept(texts: list[str], scorer: Heuristics, where: str) -> float:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], names=["text"])
    table = pa.table(scorer.score(batch, {}), names=[column.name for column in scorer.columns()])
    return float(np.mean(Expression(where).evaluate(table).fill_null(False).to_pylist()))


@pytest.mark.parametrize("lang", ["fra", "som", "amh", "sna"])
def test_derived_rules_keep_clean_text_of_their_language_and_no_other(
    news: dict[str, list[str]], tmp_path: Path, lang: str
) -> None:
    reference, unseen, english = news[lang][::2], news[lang][1::2], news["eng"]
    corpora = [
        assay.read(write_jsonl(tmp_path / f"{name}.jsonl", rows(texts)), name=name, workspace=tmp_path)
        for name, texts in (("reference", reference), ("english", english))
    ]
    made = assay.calibrate(corpora[0], english=corpora[1], workspace=tmp_path)
    where = made.where(RULES)
    assert kept(unseen, made.scorer(), where) > 0.65
    assert kept(unseen, Heuristics(), RULES) < 0.05 and kept(english, Heuristics(), RULES) > 0.9
    others = [text for other, texts in news.items() if other not in (lang, "pcm") for text in texts[:40]]
    assert kept(others, made.scorer(), where) < 0.05
    rng = np.random.default_rng(0)
    words = np.array(" ".join(unseen).split())
    menus = ["\n".join(" ".join(rng.choice(words, 3)) for _ in range(80)) for _ in range(40)]
    repeats = [f"{' '.join(text.split()[:40])}. " * 8 for text in unseen]
    assert kept(menus, made.scorer(), where) < 0.02 and kept(repeats, made.scorer(), where) < 0.02
    if lang in (
        "amh",
        "sna",
        "som",
    ):  # stop words of two letters, such as the French ones, stand in any jumble of letters
        jumbled = ["".join(rng.permutation(list(text))) for text in unseen]
        assert kept(jumbled, made.scorer(), where) < 0.02


@pytest.mark.parametrize("lang", list(FINEWEB2_STOP_WORDS))
def test_stop_words_and_letters_are_near_those_of_fineweb2(
    news: dict[str, list[str]], tmp_path: Path, lang: str
) -> None:
    made = assay.calibrate(
        assay.read(write_jsonl(tmp_path / "reference.jsonl", rows(news[lang])), workspace=tmp_path), workspace=tmp_path
    )
    theirs = FINEWEB2_STOP_WORDS[lang].split()
    assert len(set(theirs) & set(made.stop_words)) >= 0.6 * len(theirs)
    assert made.thresholds["gopher.too_few_alpha_words"] == pytest.approx(FINEWEB2_ALPHA_WORDS[lang], abs=0.05)
