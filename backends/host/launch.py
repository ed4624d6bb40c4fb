"""Launches in host memory: what those of all backends there have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...language.dtypes import COMPUTE_DTYPE


class HostLaunch:
    """A launch in host memory: rows of scalars come in the compute dtype, and no work is captured.

    ``tensors`` are those it updates, ``positions`` theirs among all of the optimizer's.
    """

    tensors: Sequence[Any]
    positions: Sequence[int]

    def __init__(self, param_dtype: str) -> None:
        self.rows_dtype = COMPUTE_DTYPE[param_dtype]

    def bind(self, tensors: Sequence[Any], positions: Sequence[int]) -> None:
        """Take note of the tensors."""
        self.tensors, self.positions = tensors, positions

    def ready(self, rows: Any, gradients: Any) -> None:
        """Do nothing: what a run needs is there."""

    def prepare(self, rows: Any) -> None:
        """Raise: there is no captured work to prepare."""
        raise AssertionError("a host records nothing")
