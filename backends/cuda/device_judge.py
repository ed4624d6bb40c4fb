"""Decides about a step on the device, and tells the host later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...printing.cuda import BLOCK
from ...protocol import Verdict
from . import compiler, driver
from .device import Device, entered
from .device_verdict import RESULTS, DeviceVerdict
from .judge import NAME, SOURCE
from .staging import Download, Upload


class DeviceJudge:
    """A `Judge` that decides on the device."""

    def __init__(self, device: Device, sums: Mapping[str, Sequence[Any]]) -> None:
        vectors = [vector for of_dtypes in sums.values() for vector in of_dtypes]
        self._device, self._vectors = device, vectors
        self._skips = "difference" in sums
        size = len(vectors[0])
        with entered(device):
            (self._kernel,) = compiler.functions(NAME, SOURCE, [NAME], device.number)
            self._limit = Upload(device, 8)
            self._control = device.empty(RESULTS, "float64")
            self._workspace = device.empty(size, "float64")
            control, workspace = device.addresses([self._control, self._workspace]).tolist()
            self._downloads = [Download(device, control, RESULTS) for _ in range(2)]
        pointers = []
        for name in ("sum_of_squares", "difference"):
            of_dtype = {device.dtype_name(v): v for v in sums.get(name, ())}
            for dtype in ("float32", "float64"):
                found = device.addresses([of_dtype[dtype]]) if dtype in of_dtype else (0,)
                pointers.append(int(found[0]))
        self._arguments = driver.Arguments(*pointers, size, workspace, self._limit.address, control)

    def decide(self, limit: float | None) -> Verdict:
        with entered(self._device):
            stream = self._device.stream()
            capturing = driver.capturing(stream)
            if not capturing:
                self._send(limit)
            driver.launch(self._kernel, (1, 1), BLOCK, self._arguments, stream)
            download = None
            if not capturing:
                self._downloads.reverse()
                download = self._downloads[0]
                download.start()
        return DeviceVerdict(self._device, self._control, download, not self._skips)

    def prepare(self, limit: float | None) -> None:
        with entered(self._device):
            self._send(limit)

    def _send(self, limit: float | None) -> None:
        self._limit.send(np.array([math.inf if limit is None else limit], np.float64))
