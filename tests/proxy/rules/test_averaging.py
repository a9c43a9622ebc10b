"""Averages of weights, against averages of a list."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.proxy.rules.averaging import EMA, LAWA
from assay.proxy.rules_base import Rule

torch = pytest.importorskip("torch")


def averaged(rule: Rule, path: np.ndarray, stop: int | None = None) -> np.ndarray:
    """The weights at the end of a run that went along `path` [steps, weights], stopped and gone on after `stop`."""
    model, hooks = torch.nn.Linear(path.shape[1], 1, bias=False), rule.start()
    for step, weights in enumerate(path):
        if step == stop:
            state = {name: array.copy() for name, array in hooks.state().items()}
            hooks = rule.start()
            hooks.load_state(state)
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(weights)[None])
        hooks.after_step(step, len(path), model)
    hooks.finish(model)
    return model.weight.detach().numpy()[0]


PATH = np.random.default_rng(0).normal(size=(100, 5)).cumsum(0).astype(np.float32)


def test_lawa_is_the_mean_of_checkpoints_evenly_spread_over_the_end() -> None:
    rule = LAWA(span=0.2, checkpoints=4)
    assert sorted(rule.steps(100)) == [84, 89, 94, 99]
    np.testing.assert_allclose(averaged(rule, PATH), PATH[[84, 89, 94, 99]].mean(0), rtol=1e-5)
    assert sorted(LAWA(span=0.02, checkpoints=10).steps(100)) == [98, 99]
    np.testing.assert_allclose(averaged(LAWA(span=1, checkpoints=100), PATH), PATH.mean(0), rtol=1e-4)


def test_ema_forgets_at_the_rate_of_its_span_and_begins_as_a_mean() -> None:
    expected = PATH[0].astype(np.float64)
    for step in range(1, 100):
        rate = max(1 / 10, 1 / (step + 1))
        expected += rate * (PATH[step] - expected)
    np.testing.assert_allclose(averaged(EMA(span=0.1), PATH), expected, rtol=1e-5)
    np.testing.assert_allclose(averaged(EMA(span=1), PATH), PATH.mean(0), rtol=1e-4)


@pytest.mark.parametrize("rule", [LAWA(checkpoints=1), EMA(span=0.01), EMA(span=0.001)])
def test_an_average_of_the_last_step_is_that_step(rule: Rule) -> None:
    assert averaged(rule, PATH).tobytes() == PATH[-1].tobytes()


@pytest.mark.parametrize("rule", [LAWA(span=0.9), EMA()])
@pytest.mark.parametrize("stop", [1, 50, 97])
def test_an_average_goes_on_to_the_same_bytes(rule: Rule, stop: int) -> None:
    assert averaged(rule, PATH, stop).tobytes() == averaged(rule, PATH).tobytes()


def test_bad_parameters_are_named() -> None:
    for kind, parameters, named in ((EMA, {"span": 0}, "span"), (LAWA, {"checkpoints": 0}, "checkpoints")):
        with pytest.raises(InvalidParameterError, match=f"`{named}`"):
            kind(**parameters)
