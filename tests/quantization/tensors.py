"""Tensors that break careless quantizers: random ones, and the adversarial ones of a list."""

import torch
from hypothesis import strategies as st

KINDS = ("normal", "zeros", "equal", "outlier", "denormals", "halves", "huge", "negative", "relu")


def hard(kind: str, seed: int, shape=(6, 40)) -> torch.Tensor:
    """A float32 tensor of that kind. `halves` lies on and next to the middle between two codes of many schemes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) * 10 ** torch.empty(()).uniform_(-3, 3, generator=generator)
    if kind == "zeros":
        return torch.zeros(shape)
    if kind == "equal":
        return torch.full(shape, x.flatten()[0].item())
    if kind == "outlier":
        x.view(-1)[seed % x.numel()] *= 1000
    if kind == "denormals":
        return x.sign() * 1e-45 * torch.randint(0, 1000, shape, generator=generator)
    if kind == "halves":
        steps = torch.randint(-600, 600, shape, generator=generator) + 0.5
        x = steps * 2.0 ** (seed % 7 - 3) if seed % 2 else steps * x.flatten()[0].abs()
        x[1::3] = x[1::3].nextafter(torch.tensor(torch.inf))
        x[2::3] = x[2::3].nextafter(torch.tensor(-torch.inf))
    if kind == "huge":
        x.view(-1)[:6] = torch.tensor([1e10, -1e10, 1e30, -1e30, 1.6e38, -1.6e38])
    return -x.abs() if kind == "negative" else x.relu() if kind == "relu" else x


def tensors(kinds=KINDS) -> st.SearchStrategy:
    return st.builds(hard, st.sampled_from(kinds), st.integers(0, 10**6))


def near_halves(scale: float, seed: int, shape=(6, 40)) -> torch.Tensor:
    """Values on the middle between two codes of that scale, and next to it on both sides."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.randint(-300, 300, shape, generator=generator) + 0.5) * scale
    x[1::3] = x[1::3].nextafter(torch.tensor(torch.inf))
    x[2::3] = x[2::3].nextafter(torch.tensor(-torch.inf))
    return x


@st.composite
def with_scales(draw) -> tuple[torch.Tensor, float]:
    """A tensor and a scale; every second time the one is made to be hard for the other."""
    scale = draw(st.floats(2**-20, 2**13, width=32))
    return draw(st.builds(near_halves, st.just(scale), st.integers(0, 10**6)) | tensors()), scale
