"""Projected gradients without a network: against gradients that are written out, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InvalidParameterError
from assay.kernels.projection import seed_key, sign_words
from assay.models.bag import Bag, Counted, fit_bag
from assay.models.embedding import Embedding, as_embedding
from assay.models.gradients import Gradients, WordGradients, adam_step
from tests.conftest import make_prose
from tests.models.test_bag import BUCKETS, dense

TEXTS = pa.array([row["text"] for t in "ab" for row in make_prose(30, seed=2, topic=t)] + ["", None, "unheard of"])


@pytest.fixture(scope="module")
def bag() -> Bag:
    known = Counted(TEXTS.slice(0, 60), BUCKETS)
    return fit_bag(known.starts, known.buckets, known.counts, BUCKETS)


def written_out(bag: Bag, adam: bool) -> np.ndarray:
    """Each document's gradient, or Adam's step [documents, buckets]."""
    gradients = bag.shares - dense(Counted(TEXTS, BUCKETS))
    if not adam:
        return gradients
    return 0.1 * gradients / np.sqrt(0.001 * gradients**2 + 0.999 * bag.squares + 1e-8)  # the averages' mean is 0


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("adam", [True, False])
def test_vectors_are_the_projected_gradients(bag: Bag, adam: bool) -> None:
    words = sign_words(0, BUCKETS, 64, seed_key(4))
    bits = (words[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    expected = unit(written_out(bag, adam) @ (bits.reshape(BUCKETS, 64) * 2.0 - 1))
    found = WordGradients.of(bag, Gradients(dimensions=64, seed=4, adam=adam)).encode(TEXTS, "mean")
    filled = [k for k in range(len(TEXTS)) if k not in (60, 61)]
    np.testing.assert_allclose(found[filled], expected[filled], atol=1e-6)
    assert not found[60:62].any()


@pytest.mark.parametrize("adam", [True, False])
def test_cosines_are_those_of_the_gradients_but_for_the_projection(bag: Bag, adam: bool) -> None:
    exact = unit(written_out(bag, adam)[:60])
    for dimensions in (256, 2048):
        found = WordGradients.of(bag, Gradients(dimensions=dimensions, adam=adam)).encode(TEXTS.slice(0, 60), "mean")
        assert np.abs(found @ found.T - exact @ exact.T).max() < 4 / dimensions**0.5


def test_a_text_has_the_same_vector_in_any_batch(bag: Bag) -> None:
    encoder = WordGradients.of(bag, Gradients(dimensions=128))
    whole = encoder.encode(TEXTS, "mean")
    for a, b in ((0, 1), (1, 40), (40, len(TEXTS))):
        np.testing.assert_array_equal(encoder.encode(TEXTS.slice(a, b - a), "mean"), whole[a:b])


def test_adams_step_is_that_of_the_paper() -> None:
    found = adam_step(np.array([0.2, -1.0]), np.array([0.5, 0.0]), np.array([0.04, 0.0]))
    expected = [(0.1 * 0.2 + 0.9 * 0.5) / (0.001 * 0.04 + 0.999 * 0.04 + 1e-8) ** 0.5, -0.1 / (0.001 + 1e-8) ** 0.5]
    np.testing.assert_allclose(found, expected)


def test_a_mapping_with_gradients_means_them() -> None:
    assert as_embedding({"gradients": "words", "dimensions": 64}) == Gradients(dimensions=64)
    assert as_embedding({"gradients": ["a", "b"], "rates": [1e-3, 5e-4]}).folders == ("a", "b")
    assert as_embedding({"model": "words"}) == Embedding()
    np.testing.assert_allclose(Gradients(gradients=("a", "b"), rates=(3, 1)).shares, [0.75, 0.25])
    assert Gradients().of_target == Gradients(adam=False)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dimensions": 100}, "`dimensions` (=100) must be a multiple of 64"),
        ({"gradients": ()}, '`gradients` (=()) must be "words", the folder of a model'),
        ({"gradients": ("a", "b"), "rates": (1.0,)}, "`rates` (=(1.0,)) must be one for each of 2 checkpoints"),
        ({"rates": (-1.0,)}, "`rates` (=-1.0) must be of numbers above 0"),
        ({"layers": -1}, "`layers` (=-1) must be an integer ≥ 0"),
        ({"adam": 1}, "`adam` (=1) must be true or false"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError) as error:
        Gradients(**parameters)  # type: ignore[arg-type]
    assert message in str(error.value)
