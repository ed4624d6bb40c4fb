"""Decides about a step on the device, and tells the host later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...printing.cuda import BLOCK
from ...protocol import Verdict
from . import compiler, driver
from .device import Device
from .judge import NAME, SOURCE
from .staging import Download, Upload

RESULTS = 3  # factor, whether to skip, norm


class DeviceJudge:
    """A `Judge` that decides on the device."""

    def __init__(self, device: Device, sums: Mapping[str, Sequence[Any]]) -> None:
        vectors = [vector for of_dtypes in sums.values() for vector in of_dtypes]
        self._device, self._vectors = device, vectors
        self.skips = "difference" in sums
        size = len(vectors[0])
        with device.current():
            driver.enter(device.number)
            (self._kernel,) = compiler.functions(NAME, SOURCE, [NAME], device.number)
            self._limit = Upload(device, 8)
            self._control = device.empty(RESULTS, "float64")
            self._workspace = device.empty(size, "float64")
            (self.control, workspace) = map(int, device.addresses([self._control, self._workspace]))
            self._downloads = [Download(device, self.control, RESULTS) for _ in range(2)]
        pointers = []
        for name in ("sum_of_squares", "difference"):
            of_dtype = {device.dtype_name(v): v for v in sums.get(name, ())}
            for dtype in ("float32", "float64"):
                found = device.addresses([of_dtype[dtype]]) if dtype in of_dtype else (0,)
                pointers.append(int(found[0]))
        self._arguments = driver.Arguments(
            *pointers, size, workspace, self._limit.address, self.control
        )

    def decide(self, limit: float | None) -> Verdict:
        with self._device.current():
            driver.enter(self._device.number)
            stream = self._device.stream()
            capturing = driver.capturing(stream)
            if not capturing:
                self._send(limit)
            driver.launch(self._kernel, (1, 1), BLOCK, self._arguments, stream)
            if capturing:
                return DeviceVerdict(self, None)
            self._downloads.reverse()
            self._downloads[0].start()
            return DeviceVerdict(self, self._downloads[0])

    def prepare(self, limit: float | None) -> None:
        with self._device.current():
            driver.enter(self._device.number)
            self._send(limit)

    def _send(self, limit: float | None) -> None:
        self._limit.send(np.array([math.inf if limit is None else limit], np.float64))

    def last_numbers(self) -> NDArray[Any]:
        """Return the results that are on the device now."""
        return self._device.to_numpy(self._control)


class DeviceVerdict:
    """A `Verdict` that the host learns later. ``download``: the numbers of this step, under way to
    the host; without one, those of the last replay."""

    coefficient = 1.0  # the device knows it

    def __init__(self, judge: DeviceJudge, download: Download | None) -> None:
        self.control, self.decided = judge.control, not judge.skips
        self._judge, self._download = judge, download
        self._values: NDArray[Any] | None = None

    def _numbers(self) -> Any:
        if self._download is None:
            return self._judge.last_numbers()
        if self._values is None:
            self._values = self._download.wait()
        return self._values

    @property
    def finite(self) -> bool:
        return bool(self.decided or self._numbers()[1] == 0)

    @property
    def norm(self) -> float:
        return float(self._numbers()[2])
