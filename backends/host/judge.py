"""Decides on the host about a step whose gradients were measured: clip, or leave it out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...language.summation import fold_by_halves
from ...protocol import Judge, KnownVerdict, Verdict


class HostJudge:
    """Reads the sums and decides; see `Judge`."""

    def __init__(self, to_numpy: Callable[[Any], Any], sums: Mapping[str, Sequence[Any]]) -> None:
        self._to_numpy, self._sums = to_numpy, sums

    def decide(self, limit: float | None) -> Verdict:
        norm = math.nan
        if "sum_of_squares" in self._sums:
            norm = math.sqrt(self._over_all("sum_of_squares"))
        finite = "difference" not in self._sums or self._over_all("difference") == 0
        return KnownVerdict(1.0 if limit is None else clip_coefficient(norm, limit), finite, norm)

    def _over_all(self, name: str) -> float:
        # a tensor has its sum in the vector of its dtype, and zero in the others
        vectors = map(self._to_numpy, self._sums[name])
        with np.errstate(over="ignore", invalid="ignore"):
            total = fold_by_halves(sum(v.astype(np.float64) for v in vectors))
        return float(total)

    def prepare(self, limit: float | None) -> None:
        raise AssertionError("a host records nothing")


class DecidesOnHost:
    """The part of a backend's protocol for those that read what was measured before they go on."""

    to_numpy: Callable[[Any], Any]

    def judge(self, sums: Mapping[str, Sequence[Any]]) -> Judge:
        return HostJudge(self.to_numpy, sums)

    def capturing(self) -> bool:
        return False


def clip_coefficient(norm: float, limit: float) -> float:
    """Return the factor that makes gradients of this norm no longer than ``limit``. Gradients
    whose norm is not a number are left as they are."""
    return limit / norm if norm > limit else 1.0
