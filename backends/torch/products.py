"""Products of stacks of matrices by PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch

NARROW = ("bfloat16",)  # the dtypes of fewer bits in which it multiplies

Tensor = torch.Tensor


class Product:
    """PyTorch's product of two stacks, matrix by matrix, with and without an addition.

    (``torch.matmul`` with ``out`` copies a transposed operand, which takes as long as the product.)
    """

    def __call__(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        torch.bmm(a, b, out=out)

    def plus(self, a: Tensor, b: Tensor, out: Tensor, alpha: float, c: Tensor, beta: float) -> None:
        """Write ``alpha a @ b + beta c`` to ``out``, rounded once."""
        torch.baddbmm(c, a, b, alpha=alpha, beta=beta, out=out)


product = Product()


def in_dtype(
    function: Callable[..., None], dtype: str, stack: Tensor, size: int, *numbers: float
) -> None:
    """Call ``function(product, stack, memory, *numbers)`` in ``dtype``, with ``size`` elements of
    memory, and round what it leaves back into ``stack``."""
    narrow = stack.to(getattr(torch, dtype))
    function(product, narrow, narrow.new_empty(size), *numbers)
    stack.copy_(narrow)
