"""The functions of a whole matrix that a rule's ``update`` may call, each written once for stacks of
matrices: (count, rows, columns), of any backend's arrays.

A backend brings the product ``matmul(a, b, out)``; everything else is ``*=``, ``+=``, slices,
``reshape`` and ``swapaxes``, which NumPy, CuPy and PyTorch share. Equal sums in another order have
other bits, and no two libraries multiply matrices in the same order: so what these functions return
has the same bits on one machine and library only, whatever stacks the matrices are put into.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .kronecker import column_gram, inverse_root, multiplied, row_gram

Stack = Any  # an array or tensor of three axes, contiguous
Matmul = Callable[[Any, Any, Any], Any]


def newton_schulz(
    matmul: Matmul, x: Stack, memory: Any, a: float, b: float, c: float, steps: float
) -> None:
    """Replace each matrix ``X`` by ``p(X X^T) X``, so many ``steps`` times: ``p(t) = a + b t + c t^2``.

    Its singular vectors stay, its singular values ``s`` become ``s p(s^2)``. With the coefficients of
    Muon (Jordan et al., https://kellerjordan.github.io/posts/muon) and five steps they come from
    anywhere between 0.003 and 1 to between 0.68 and 1.14. ``steps`` is rounded
    down; the bounds of a rule can refuse what is no whole number.

    The Gram matrix is that of the shorter side, and ``a X + (b G + c G^2) X`` is one product with
    ``a`` on the diagonal; a library that knows ``G G^T`` to be symmetric computes half of it.
    """
    count, rows, columns = x.shape
    side = min(rows, columns)
    square = count * side * side
    gram = memory[:square].reshape(count, side, side)
    factor = memory[square : 2 * square].reshape(count, side, side)
    other = memory[2 * square : 2 * square + count * rows * columns].reshape(x.shape)
    diagonal = factor.reshape(count, -1)[:, :: side + 1]
    now, after = x, other
    for _ in range(int(steps)):
        across = now.swapaxes(1, 2)
        if rows <= columns:
            matmul(now, across, gram)
        else:
            matmul(across, now, gram)
        matmul(gram, gram.swapaxes(1, 2), factor)
        factor *= c
        gram *= b
        factor += gram
        diagonal += a
        if rows <= columns:
            matmul(factor, now, after)
        else:
            matmul(now, factor, after)
        now, after = after, now
    if now is not x:
        x[...] = now


def newton_schulz_memory(rows: int, columns: int) -> int:
    """Return how many elements of memory `newton_schulz` needs for each matrix."""
    return 2 * min(rows, columns) ** 2 + rows * columns


@dataclass(frozen=True)
class MatrixFunction:
    """``compute(matmul, *values, *memory, *numbers)``: a function whose ``result`` is the matrix overwrites
    its first value; one whose result is a square writes it to one value more, behind the others.

    ``values`` says what each value has a number for: ``"element"``, ``"row_pair"``, ``"column_pair"``, or
    ``"pair"`` for either. ``memory(rows, columns)`` is how many more elements it needs for each matrix,
    None if it takes no memory; ``numbers`` are called so. ``decomposes``: it takes the backend's
    ``library``, too.
    """

    compute: Callable[..., None]
    numbers: tuple[str, ...]
    memory: Callable[[int, int], int] | None = None
    values: tuple[str, ...] = ("element",)
    result: str = "element"
    decomposes: bool = False

    @property
    def in_blocks(self) -> bool:
        """True if a large matrix is cut into blocks for it, which its square states are of."""
        return self.values != ("element",)


GRAM = ("keep", "add")
FUNCTIONS = {
    "newton_schulz": MatrixFunction(newton_schulz, ("a", "b", "c", "steps"), newton_schulz_memory),
    "row_gram": MatrixFunction(row_gram, GRAM, None, ("element", "row_pair"), "row_pair"),
    "column_gram": MatrixFunction(
        column_gram, GRAM, None, ("element", "column_pair"), "column_pair"
    ),
    "inverse_root": MatrixFunction(
        inverse_root,
        ("refresh", "scale", "eps", "exponent"),
        None,
        ("pair", "pair"),
        "pair",
        decomposes=True,
    ),
    "multiplied": MatrixFunction(
        multiplied, (), operator.mul, ("element", "row_pair", "column_pair")
    ),
}
