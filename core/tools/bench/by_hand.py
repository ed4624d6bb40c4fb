"""The vocabulary of a formula that is written by hand."""

from __future__ import annotations

from types import ModuleType
from typing import Any


class ByHand:
    """The functions of NumPy or PyTorch in the place of a rule's vocabulary. Nothing spares
    infinite parameters: nobody writes that by hand."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    @staticmethod
    def finite_or_zero(x: Any) -> Any:
        """Return ``x`` as it is."""
        return x
