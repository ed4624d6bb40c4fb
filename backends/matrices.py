"""Work on whole matrices, for rules that are not printed: it runs eagerly on each backend."""

from __future__ import annotations

from typing import Any


class Matrices:
    """Operations on matrices by a module that has NumPy's functions.

    A product's bits are those of the library behind it: rules that use it are held to a stated
    tolerance.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def matmul(self, a: Any, b: Any) -> Any:
        """The product of two matrices, or of stacks of them."""
        return self._module.matmul(a, b)

    def transpose(self, a: Any) -> Any:
        """A view of a matrix with rows and columns exchanged, or of each one in a stack."""
        return a.swapaxes(-1, -2)
