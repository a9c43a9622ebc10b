"""The settings of training, by size."""

import pytest

from assay.errors import InvalidParameterError
from assay.models.sizes import SIZES
from assay.proxy.settings import Settings


def test_every_size_has_settings_after_the_rules_that_they_name() -> None:
    for size, shape in SIZES.items():
        settings, ratio = Settings.of(size), shape.num_parameters / 108e6
        assert settings.matrix_rate == 0.01
        assert settings.learning_rate == pytest.approx(0.005 * (128 / shape.width) ** 0.5, rel=0.05)
        assert settings.batch_tokens == pytest.approx(160 * 2048 * ratio ** (2 / 3), rel=0.1)


def test_single_settings_can_be_changed() -> None:
    assert Settings.of("1M", clip=0.5).clip == 0.5
    with pytest.raises(InvalidParameterError, match="'learnig_rate' is no setting .* Did you mean 'learning_rate'?"):
        Settings.of("1M", learnig_rate=0.1)
    with pytest.raises(InvalidParameterError, match="Did you mean '5M'"):
        Settings.of("5MB")


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0}, {"batch_tokens": 0}, {"beta2": 1.0}, {"warmup": 0.9}, {"clip": float("nan")}]
)
def test_settings_that_break_their_rule_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InvalidParameterError, match=f"`{next(iter(change))}`"):
        Settings.of("1M", **change)
