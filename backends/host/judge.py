"""Decides on the host about a step whose gradients were measured: clip, or leave it out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.summation import fold_by_halves
from ...protocol import Judge, KnownVerdict, Verdict


class HostJudge:
    """Reads the sums and decides; see `Judge`."""

    def __init__(self, to_numpy: Callable[[Any], Any], squares: bool, sums: Sequence[Any]) -> None:
        self._to_numpy, self._squares, self._sums = to_numpy, squares, sums
        self._first = math.nan  # the sum of squares, before they were measured again

    def again(self, limit: float | None, scale: float) -> Verdict | None:
        self._first = self._over_all()
        return None if math.isfinite(self._first) else KnownVerdict(scale)

    def decide(self, limit: float | None, scale: float) -> Verdict:
        if not self._squares:
            return KnownVerdict(finite=self._over_all() == 0)
        measured = math.isfinite(self._first)
        norm = math.sqrt(self._first) if measured else math.sqrt(self._over_all()) / scale
        return KnownVerdict(clip_coefficient(norm, limit), math.isfinite(norm), norm)

    def _over_all(self) -> float:
        # a tensor has its sum in the vector of its dtype, and zero in the others
        vectors = map(self._to_numpy, self._sums)
        with np.errstate(over="ignore", invalid="ignore"):
            total = fold_by_halves(sum(v.astype(np.float64) for v in vectors))
        return float(total)

    def prepare(self, limit: float | None, scale: float) -> None:
        raise AssertionError("a host records nothing")


class DecidesOnHost:
    """The part of a backend's protocol for those that read what was measured before they go on."""

    to_numpy: Callable[..., Any]

    def numbers(self, arrays: Sequence[Any]) -> Callable[[], NDArray[np.float64]]:
        found = np.array([self.to_numpy(array, copied=False) for array in arrays], np.float64)
        return lambda: found

    def judge(self, squares: bool, sums: Sequence[Any]) -> Judge:
        return HostJudge(self.to_numpy, squares, sums)

    def capturing(self) -> bool:
        return False

    def leaves_out(self, control: None) -> bool:
        return False


def clip_coefficient(norm: float, limit: float | None) -> float:
    """Return the factor that makes gradients of this norm no longer than ``limit``."""
    return limit / norm if limit is not None and norm > limit else 1.0
