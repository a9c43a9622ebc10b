"""Muon against torch's own and against singular values; AdamW's part against torch's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from assay.proxy.optimizer import Optimizer, orthogonalised  # noqa: E402
from assay.proxy.settings import Settings  # noqa: E402

SETTINGS = Settings.of("1M", learning_rate=0.01, matrix_rate=0.02, weight_decay=0.1)


def model(seed: int = 0) -> "torch.nn.Module":
    torch.manual_seed(seed)
    return torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(30, 16),
            "wide": torch.nn.Linear(16, 48, bias=False),
            "narrow": torch.nn.Linear(48, 16, bias=False),
            "norm": torch.nn.RMSNorm(16),
        }
    )


def give_gradients(*models: "torch.nn.Module", seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameters in zip(*(m.parameters() for m in models), strict=True):
        gradient = torch.randn(parameters[0].shape, generator=generator)
        for p in parameters:
            p.grad = gradient.clone()


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 48), (128, 384)])
def test_singular_values_come_near_to_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    found = orthogonalised(matrix)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    closest = u @ v
    assert torch.nn.functional.cosine_similarity(found.flatten(), closest.flatten(), dim=0) > 0.97


def test_steps_are_those_of_torch() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon to compare with")
    ours, theirs = model(), model()
    optimizer = Optimizer(ours, SETTINGS)
    matrices = [theirs["wide"].weight, theirs["narrow"].weight]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, momentum=0.95, nesterov=True)
    rest = [theirs["embedding"].weight, theirs["norm"].weight]
    betas = (SETTINGS.beta1, SETTINGS.beta2)
    adamw = torch.optim.AdamW(rest, lr=0.01, betas=betas, eps=1e-8, weight_decay=0.0)
    start = {name: p.detach().clone() for name, p in ours.named_parameters()}
    for step in range(4):
        give_gradients(ours, theirs, seed=step)
        optimizer.step(0.01)
        muon.step()
        adamw.step()
    for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert own.grad is None
        moved = (own - start[name]).norm()
        share = 0.02 if name in ("wide.weight", "narrow.weight") else 1e-5  # torch's iterates in bfloat16
        assert (own - other).norm() < share * moved, name


def test_without_a_rate_for_matrices_all_is_adamw() -> None:
    ours, theirs = model(), model()
    optimizer = Optimizer(ours, Settings.of("1M", learning_rate=0.01, matrix_rate=None, weight_decay=0.0))
    betas = (SETTINGS.beta1, SETTINGS.beta2)
    adamw = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=betas, eps=1e-8, weight_decay=0.0)
    for step in range(3):
        give_gradients(ours, theirs, seed=step)
        optimizer.step(0.01)
        adamw.step()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-7)


def test_what_it_remembers_carries_over() -> None:
    whole, first, second = model(), model(), model(seed=1)
    optimizer, begun, ended = (Optimizer(m, SETTINGS) for m in (whole, first, second))
    for step in range(2):
        give_gradients(whole, first, seed=step)
        optimizer.step(0.01)
        begun.step(0.01)
    second.load_state_dict(first.state_dict())
    ended.load({kind: {n: t.clone() for n, t in of.items()} for kind, of in begun.averages().items()}, step=2)
    give_gradients(whole, second, seed=9)
    optimizer.step(0.01)
    ended.step(0.01)
    for own, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(own, other)
