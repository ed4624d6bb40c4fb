"""The functions of a whole matrix that a rule's ``update`` may call, each written once for stacks
of matrices: (count, rows, columns), of any backend's arrays.

A backend brings the product ``matmul(a, b, out)``, and may have ``matmul.plus(a, b, out, alpha, c,
beta)``, which writes ``alpha a @ b + beta c``; everything else is ``*=``, ``+=``, slices,
``reshape`` and ``swapaxes``, which NumPy, CuPy and PyTorch share. Equal sums in another order have
other bits, and no two libraries multiply matrices in the same order: so what these functions return
has the same bits on one machine and library only, whatever stacks the matrices are put into.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .blocks import PAIRS
from .eigenbasis import eigenbasis
from .kronecker import (
    column_gram,
    inverse_root,
    multiplied,
    rotated,
    rotated_back,
    row_gram,
)
from .low_rank import (
    orthonormal_product,
    outer_product,
    random_start,
    transposed_product,
    unit_columns,
)
from .subspace import (
    divided_by_root,
    projected,
    projected_back,
    running_mean,
    running_mean_of_squares,
    singular_basis,
)
from .whitening import column_whitening, row_whitening

Stack = Any  # an array or tensor of three axes, contiguous
Matmul = Callable[[Any, Any, Any], Any]


def newton_schulz(matmul: Matmul, x: Stack, memory: Any, *numbers: float) -> None:
    """Replace each matrix ``X`` by ``p(X X^T) X``, several times: ``p(t) = a + b t + c t^2``.

    ``numbers`` are ``a, b, c`` of each step, the last three for all steps after it, too, and then
    how many steps, rounded down; the bounds of a rule can refuse what is no whole number.

    Its singular vectors stay, its singular values ``s`` become ``s p(s^2)``. With the coefficients
    of Muon (Jordan et al., https://kellerjordan.github.io/posts/muon) and five steps they come from
    anywhere between 0.003 and 1 to between 0.68 and 1.21.

    The Gram matrix is that of the shorter side, and ``a X + (b G + c G^2) X`` is one product with
    ``a`` on the diagonal; a library that knows ``G G^T`` to be symmetric computes half of it. Where
    there is ``matmul.plus``, ``a X`` is added by the product, which rounds it less.
    """
    count, rows, columns = x.shape
    side = min(rows, columns)
    square = count * side * side
    gram = memory[:square].reshape(count, side, side)
    factor = memory[square : 2 * square].reshape(count, side, side)
    other = memory[2 * square : 2 * square + count * rows * columns].reshape(x.shape)
    diagonal = factor.reshape(count, -1)[:, :: side + 1]
    now, after = x, other
    plus = getattr(matmul, "plus", None)
    *coefficients, steps = numbers
    last = len(coefficients) // 3 - 1
    for k in range(int(steps)):
        a, b, c = coefficients[3 * min(k, last) :][:3]
        across, wide = now.swapaxes(1, 2), rows <= columns
        matmul(*((now, across) if wide else (across, now)), gram)
        sides = (factor, now) if wide else (now, factor)
        if plus is None:
            matmul(gram, gram.swapaxes(1, 2), factor)
            factor *= c
            gram *= b
            factor += gram
            diagonal += a
            matmul(*sides, after)
        else:
            plus(gram, gram, factor, c, gram, b)
            plus(*sides, after, 1.0, now, a)
        now, after = after, now
    if now is not x:
        x[...] = now


def newton_schulz_memory(rows: int, columns: int) -> int:
    """Return how many elements of memory `newton_schulz` needs for each matrix."""
    return 2 * min(rows, columns) ** 2 + rows * columns


@dataclass(frozen=True)
class MatrixFunction:
    """``compute(matmul, *values, *memory, *numbers)``: a function of a matrix whose ``result`` is
    one, too, overwrites its first value; any other writes to one value more, behind the others.

    ``values`` says what each value has a number for: ``"element"``, or what a square or thin state
    has one for (`samestep.language.blocks`), with ``"pair"`` for either kind of squares.
    ``memory(rows, columns)`` is how many more elements it needs for each matrix, None if it takes
    no memory. ``decomposes``: it takes the backend's ``library``, too.
    """

    compute: Callable[..., None]
    memory: Callable[[int, int], int] | None = None
    values: tuple[str, ...] = ("element",)
    result: str = "element"
    decomposes: bool = False

    @property
    def in_blocks(self) -> bool:
        """True if a large matrix is cut into blocks for it, which its square states are of."""
        return not PAIRS.isdisjoint(self.values) or "pair" in self.values

    @property
    def of_states(self) -> bool:
        """True if it takes or returns what only such functions read and write."""
        return self.values != ("element",)

    @property
    def overwrites(self) -> bool:
        """True if its result is in the place of its first value."""
        return self.result == "element" and "element" in self.values

    def shape(self, values: Sequence[Stack]) -> tuple[int, ...]:
        """Return the shape of the result for stacks of these values, without the axis of the
        stack."""
        sizes: dict[str, int] = {}
        for per, value in zip(self.values, values, strict=True):
            sizes |= zip(AXES[per], value.shape[1:], strict=True)
            if per == "element":
                sizes |= dict(longer=max(value.shape[1:]), shorter=min(value.shape[1:]))
        return tuple(sizes[axis] for axis in AXES[self.result])


# the two axes of each kind of value
AXES = {
    "element": ("row", "column"),
    "row_rank": ("row", "rank"),
    "column_rank": ("column", "rank"),
    "longer_rank": ("longer", "rank"),
    "shorter_rank": ("shorter", "rank"),
    "row_pair": ("row", "row"),
    "column_pair": ("column", "column"),
    "pair": ("line", "line"),
}
BETWEEN = ("element", "row_pair", "column_pair")  # a matrix between two squares
LONGER = ("longer_rank", "longer_rank")  # two thin states of the longer side
FUNCTIONS = {
    "newton_schulz": MatrixFunction(newton_schulz, newton_schulz_memory),
    "row_gram": MatrixFunction(row_gram, None, ("element", "row_pair"), "row_pair"),
    "column_gram": MatrixFunction(column_gram, None, ("element", "column_pair"), "column_pair"),
    "inverse_root": MatrixFunction(inverse_root, None, ("pair", "pair"), "pair", decomposes=True),
    "eigenbasis": MatrixFunction(eigenbasis, None, ("pair", "pair"), "pair", decomposes=True),
    "row_whitening": MatrixFunction(row_whitening, None, ("element", "row_pair"), "row_pair"),
    "column_whitening": MatrixFunction(
        column_whitening, None, ("element", "column_pair"), "column_pair"
    ),
    "multiplied": MatrixFunction(multiplied, operator.mul, BETWEEN),
    "rotated": MatrixFunction(rotated, operator.mul, BETWEEN),
    "rotated_back": MatrixFunction(rotated_back, operator.mul, BETWEEN),
    "random_start": MatrixFunction(
        random_start, None, ("column_rank",), "column_rank", decomposes=True
    ),
    "orthonormal_product": MatrixFunction(
        orthonormal_product, None, ("element", "column_rank"), "row_rank", decomposes=True
    ),
    "transposed_product": MatrixFunction(
        transposed_product, None, ("element", "row_rank"), "column_rank"
    ),
    "unit_columns": MatrixFunction(
        unit_columns, None, ("column_rank", "column_rank"), "column_rank", decomposes=True
    ),
    "outer_product": MatrixFunction(outer_product, None, ("row_rank", "column_rank")),
    "singular_basis": MatrixFunction(
        singular_basis, None, ("element", "shorter_rank"), "shorter_rank", decomposes=True
    ),
    "projected": MatrixFunction(projected, None, ("element", "shorter_rank"), "longer_rank"),
    "projected_back": MatrixFunction(
        projected_back, None, ("element", "longer_rank", "shorter_rank")
    ),
    "running_mean": MatrixFunction(running_mean, None, LONGER, "longer_rank"),
    "running_mean_of_squares": MatrixFunction(running_mean_of_squares, None, LONGER, "longer_rank"),
    "divided_by_root": MatrixFunction(divided_by_root, None, LONGER, "longer_rank"),
}
