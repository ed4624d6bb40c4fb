"""Decides about a step on the device, and tells the host later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from ...printing.cuda import BLOCK
from ...protocol import Verdict
from ..cuda.judge import NAME, SOURCE
from . import compiler
from .staging import Download, Upload

RESULTS = 3  # factor, whether to skip, norm


class DeviceJudge:
    """A `Judge` that decides on the device."""

    def __init__(self, sums: Mapping[str, Sequence[Any]]) -> None:
        vectors = [vector for of_dtypes in sums.values() for vector in of_dtypes]
        self._keep, self._device = vectors, vectors[0].device
        self._of_squares = "sum_of_squares" in sums
        self.skips = "difference" in sums
        size = vectors[0].size
        with self._device:
            (self._kernel,) = compiler.functions(NAME, SOURCE, [NAME])
            self._limit = Upload(8)
            self.control = cupy.empty(RESULTS, np.float64)
            self._workspace = cupy.empty(size, np.float64)
            self._downloads = [Download(self.control) for _ in range(2)]
        pointers = []
        for name in ("sum_of_squares", "difference"):
            of_dtype = {v.dtype.name: int(v.data.ptr) for v in sums.get(name, ())}
            pointers += [of_dtype.get("float32", 0), of_dtype.get("float64", 0)]
        self._arguments = (*pointers, size, self._workspace, self._limit.device, self.control)

    def decide(self, limit: float | None) -> Verdict:
        with self._device:
            capturing = cupy.cuda.get_current_stream().is_capturing()
            if not capturing:
                self.prepare(limit)
            self._kernel((1,), (BLOCK,), self._arguments)
            if capturing:
                return DeviceVerdict(self, None)
            self._downloads.reverse()
            self._downloads[0].start()
            return DeviceVerdict(self, self._downloads[0])

    def prepare(self, limit: float | None) -> None:
        with self._device:
            self._limit.send(np.array([math.inf if limit is None else limit], np.float64))


class DeviceVerdict:
    """A `Verdict` that the host learns later. ``download``: the numbers of this step, under way to
    the host; without one, those of the last replay."""

    coefficient = 1.0  # the device knows it

    def __init__(self, judge: DeviceJudge, download: Download | None) -> None:
        self.control, self.decided = judge.control, not judge.skips
        self._download = download
        self._values: NDArray[Any] | None = None

    def _numbers(self) -> Any:
        if self._download is None:
            return self.control.get()
        if self._values is None:
            self._values = self._download.wait()
        return self._values

    @property
    def finite(self) -> bool:
        return bool(self.decided or self._numbers()[1] == 0)

    @property
    def norm(self) -> float:
        return float(self._numbers()[2])
