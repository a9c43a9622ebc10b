"""Sizes of proxies, named by their parameters without the embedding.

The width doubles and the depth hardly grows below 60M: a wide shallow model of the same size is faster, and depth costs
little in loss (Kaplan et al. 2020, arXiv:2001.08361, section 3.1). Heads are 64 wide. The hidden layer is 8/3 widths,
rounded up to a multiple of 64, so that SwiGLU's three matrices weigh what two of 4 widths do (Shazeer 2020,
arXiv:2002.05202).
"""

from typing import NamedTuple


class Shape(NamedTuple):
    """What makes a model's size: width, number of layers, number of heads, width of the hidden layer."""

    width: int
    depth: int
    heads: int
    hidden: int

    @property
    def num_parameters(self) -> int:
        """Those of matrices, without the embedding.

        >>> [f"{shape.num_parameters / 1e6:.1f}M" for shape in SIZES.values()]
        ['1.1M', '4.8M', '19.3M', '59.5M', '151.8M']
        """
        return self.depth * (4 * self.width * self.width + 3 * self.width * self.hidden)


def _shape(width: int, depth: int) -> Shape:
    return Shape(width, depth, width // 64, -(-8 * width // (3 * 64)) * 64)


SIZES = {
    "1M": _shape(128, 5),
    "5M": _shape(256, 6),
    "20M": _shape(512, 6),
    "60M": _shape(640, 12),
    "150M": _shape(1024, 12),
}
