"""Rules at work in runs of a tiny model: neutral ones change no byte, others go on after a stop to the same bytes."""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from assay.errors import InvalidParameterError, SchemaError
from assay.models.sequences import NONE
from assay.packing.sequences import pack
from assay.proxy.rules import RULES, Rules
from assay.proxy.rules.averaging import EMA, LAWA
from assay.proxy.rules.curriculum import Curriculum, Upsample
from assay.proxy.rules.metadata import MeCo
from assay.proxy.rules.phases import Facts, cost_of, make_phases, selection_tokens
from assay.proxy.rules.repeating import Epochs
from assay.proxy.rules.reweighting import Reweight
from assay.proxy.rules.sampling import RS2, InfoBatch, SeTa
from assay.proxy.rules_base import Rule
from assay.proxy.schedule import Phase, make_plan
from assay.proxy.stream import Stream
from tests.proxy.rules.training import LENGTH, SETTINGS, VOCAB, documents, train_tiny

NUM = 60  # documents
STREAM = Stream(*documents(NUM))
PREFIX_SIZES = np.arange(NUM) % 4
PREFIXES = (
    np.full(PREFIX_SIZES.sum(), VOCAB - 1, np.uint16),
    np.concatenate(([0], np.cumsum(PREFIX_SIZES))),
)
FACTS = Facts(values=np.diff(STREAM.starts).astype(float), prefixes=PREFIXES)


def phases_of(rule: Rule | None, **changes) -> list[Phase]:
    options = {"length": LENGTH, "end_id": VOCAB, "seed": 2, "facts": FACTS} | changes
    return make_phases(rule, STREAM, pack, **options)


@cache
def plain_run():
    return train_tiny(phases_of(None), None)


NEUTRAL = [
    Reweight(burn_in=1),
    RS2(share=1),
    SeTa(prune=0, window=1),
    InfoBatch(prune=0),
    Upsample(by="x", tail=0),
    Curriculum(by="x", start_share=1),
    EMA(span=1e-9),
    LAWA(checkpoints=1),
    RS2(share=0.13),  # of a single pass
    Rules(),
    Rules(rules=(Reweight(burn_in=1), RS2(share=1), LAWA(checkpoints=1))),
]


@pytest.mark.parametrize("rule", NEUTRAL, ids=lambda rule: rule.name)
def test_a_neutral_rule_is_plain_training_to_the_byte(rule: Rule) -> None:
    pytest.importorskip("torch")
    (phase,) = phases_of(None)
    plain, weights = plain_run()
    phases = [replace(phase, values=np.arange(phase.num_visits, dtype=float))]
    found, same = train_tiny(phases, rule)
    assert found.losses.tobytes() == plain.losses.tobytes()
    assert same == weights


TWICE = Epochs(times=2)
AT_WORK = [
    Reweight(shape="quadratic", burn_in=0.1),
    Rules(rules=(RS2(share=0.3), TWICE)),
    RS2(share=0.3, replacement=True),
    Rules(rules=(SeTa(window=0.6), TWICE)),
    Rules(rules=(InfoBatch(), TWICE)),
    Curriculum(by="x"),
    Upsample(by="x"),
    MeCo(cooldown=0.3),
    EMA(span=0.3),
    LAWA(span=0.9),
    Rules(rules=(MeCo(cooldown=0.3), Reweight(), Curriculum(by="x"), TWICE, LAWA(span=0.9))),
]


STOPS = {1, 2, 3, 5, 8, 13, 21}  # steps after which a run is stopped


@pytest.mark.parametrize("rule", AT_WORK, ids=lambda rule: rule.name)
def test_a_run_that_is_stopped_goes_on_to_the_same_bytes(
    rule: Rule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from assay.proxy import train as module

    _, unruled = plain_run()
    whole, weights = train_tiny(phases_of(rule), rule)
    monkeypatch.setattr(module._Training, "_limit_met", lambda self, seconds: "time" if self.step in STOPS else "")
    stops = 0
    while True:
        found, same = train_tiny(phases_of(rule), rule, tmp_path)
        if found.stopped == "done":
            break
        stops += 1
    assert stops == sum(step < whole.num_steps for step in STOPS) > 3
    assert found.losses.tobytes() == whole.losses.tobytes()
    assert same == weights
    assert weights != unruled


def test_every_rule_of_the_table_is_tried_here() -> None:
    tried = {of.name for rule in AT_WORK for of in (rule.rules if isinstance(rule, Rules) else [rule])}
    assert tried == set(RULES)


def test_weights_of_a_batch_that_is_read_in_parts_are_those_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from assay.proxy import train as module

    plain, _ = plain_run()
    whole, _ = train_tiny(phases_of(None), Reweight(temperature=0.1, burn_in=0))
    assert not module.reads_in_parts(phases_of(None), SETTINGS)
    monkeypatch.setattr(module, "_PART_POSITIONS", {"cpu": LENGTH})
    parts, _ = train_tiny(phases_of(None), Reweight(temperature=0.1, burn_in=0))
    np.testing.assert_allclose(parts.losses[:10], whole.losses[:10], rtol=1e-4)
    assert np.abs(whole.losses[:10] / plain.losses[:10] - 1).max() > 0.01  # parts of one have even weights
    assert module.reads_in_parts(phases_of(None), SETTINGS)
    assert whole.forward_tokens == 0 and parts.forward_tokens == parts.tokens.sum()
    phases = phases_of(None)
    cost = cost_of(phases, parts.visits, parts.forward_tokens)
    assert cost.trained == parts.tokens.sum() and cost.equivalent == pytest.approx(4 / 3 * cost.trained)


def targets_told(phase: Phase) -> int:
    return int((phase.sequences.targets != NONE).sum())


def test_metadata_stops_at_the_step_of_the_cooldown() -> None:
    rule = MeCo(cooldown=0.25)
    main, cooldown = phases_of(rule)
    assert (main.name, cooldown.name) == ("main", "cooldown")
    assert (main.sequences.inputs == VOCAB - 1).any() and not (main.sequences.targets == VOCAB - 1).any()
    plan = make_plan([main, cooldown], SETTINGS)
    switch = plan.first_steps[1]
    assert switch == -(-len(main.sequences.inputs) // plan.batch)
    assert [plan.phase_of(step) for step in (switch - 1, switch)] == [0, 1]
    assert targets_told(cooldown) - np.isin(cooldown.sequences.targets, VOCAB).sum() == round(0.25 * len(STREAM.tokens))
    assert targets_told(main) + targets_told(cooldown) == len(STREAM.tokens) + NUM


def test_metadata_without_cooldown_and_cooldown_without_metadata_are_one_phase() -> None:
    (only,) = phases_of(MeCo(cooldown=1))
    (plain,) = phases_of(None)
    assert only.sequences.inputs.tobytes() == plain.sequences.inputs.tobytes()
    (told,) = phases_of(MeCo(cooldown=0))
    assert (told.sequences.pieces < np.diff(told.sequences.first_pieces)[:, None]).sum() == (
        len(STREAM.tokens) + NUM + PREFIX_SIZES.sum()
    )


@pytest.mark.parametrize(
    ("rule", "twice", "cost"),
    [
        (None, True, 1),
        (MeCo(cooldown=0), False, (len(STREAM.tokens) + NUM + PREFIX_SIZES.sum()) / (len(STREAM.tokens) + NUM)),
        (Reweight(), False, 1),
        (Reweight(), True, 4 / 3),
        (Epochs(times=3), False, 1),
    ],
)
def test_equal_compute_shortens_a_run_by_what_the_rule_costs(rule: Rule | None, twice: bool, cost: float) -> None:
    (at_tokens,) = phases_of(rule)
    (at_compute,) = phases_of(rule, match="compute", reads_twice=lambda _: twice)
    assert at_compute.num_visits == round(at_tokens.num_visits / cost)


def test_epochs_read_a_smaller_selection_as_many_tokens() -> None:
    assert [selection_tokens(rule, 1001) for rule in (None, Epochs(times=4), Rules(rules=(Epochs(times=2),)))] == [
        1001,
        251,
        501,
    ]
    (phase,) = phases_of(Epochs(times=3))
    assert phase.num_visits == 3 * len(phase.sequences.inputs)


def test_documents_are_packed_with_others_of_their_value_and_none_is_lost() -> None:
    tokens, starts, has_end = documents(3000)
    stream = Stream(tokens, starts, has_end)
    values = np.random.default_rng(0).normal(size=3000)
    (phase,) = make_phases(
        Curriculum(by="x"), stream, pack, length=LENGTH, end_id=VOCAB, seed=0, facts=Facts(values=values)
    )
    sequences = phase.sequences
    found = sequences.targets[sequences.targets != NONE]
    assert np.bincount(found, minlength=VOCAB + 1).tolist() == [*np.bincount(tokens, minlength=VOCAB), 3000]
    for row in (0, 17, len(sequences.inputs) - 1):  # pieces are of the documents that they are said to be of
        documents_of = sequences.documents[sequences.first_pieces[row] : sequences.first_pieces[row + 1]]
        for piece, document in enumerate(documents_of):
            text = tokens[starts[document] : starts[document + 1]].tolist()
            told = sequences.targets[row][sequences.pieces[row] == piece].tolist()
            assert " ".join(map(str, told)) in " ".join(map(str, [*text, VOCAB]))
    assert phase.values is not None and phase.values.std() > 0.9 * values.std()
    assert np.mean([abs(b - a) for a, b in pairwise(phase.values)]) < 0.2


def test_rules_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="'rs2' and 'seta' both change the order"):
        Rules(rules=(RS2(), SeTa()))
    with pytest.raises(InvalidParameterError, match="'infobatch' changes nothing in the first pass"):
        phases_of(InfoBatch())
    with pytest.raises(InvalidParameterError, match="`match`.*tokens, compute"):
        phases_of(None, match="flops")
    with pytest.raises(SchemaError, match="'quality'"):
        phases_of(Curriculum(by="quality"), facts=Facts())
    with pytest.raises(SchemaError, match="'url'"):
        phases_of(MeCo(), facts=Facts())
    with pytest.raises(InvalidParameterError, match="known for some"):
        phases_of(Curriculum(by="x"), facts=Facts(values=np.full(NUM, np.nan)))
    with pytest.raises(InvalidParameterError, match="number of documents"):
        phases_of(Curriculum(by="x"), facts=Facts(values=np.zeros(3)))


def test_parameters_name_everything_that_trains_another_model() -> None:
    rule = Rules(rules=(Reweight(shape="upper"), TWICE))
    assert rule.parameters() == {
        "name": "rules",
        "rules": [
            {"name": "reweight", "version": 1, "shape": "upper", "temperature": 1.0, "burn_in": 0.1},
            {"name": "epochs", "version": 1, "times": 2},
        ],
    }
