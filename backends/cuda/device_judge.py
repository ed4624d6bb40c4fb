"""Decides about a step on the device, and tells the host later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...printing.cuda import BLOCK
from ...protocol import KnownVerdict, Verdict
from . import compiler, driver
from .device import Device, entered
from .device_verdict import RESULTS, DeviceVerdict
from .judge import NAME, SOURCE
from .staging import Download, Upload


class DeviceJudge:
    """A `Judge` that decides on the device."""

    def __init__(self, device: Device, squares: bool, sums: Sequence[Any]) -> None:
        self._device, self._squares, self._vectors = device, squares, sums
        size = len(sums[0])
        with entered(device):
            (self._kernel,) = compiler.functions(NAME, SOURCE, [NAME], device.number)
            self._numbers = Upload(device, 16)
            self._control = device.empty(RESULTS + 2, "float64")
            self._workspace = device.empty(size, "float64")
            control, workspace = device.addresses([self._control, self._workspace]).tolist()
            self._downloads = [Download(device, control, RESULTS) for _ in range(2)]
        of_dtype = {device.dtype_name(vector): vector for vector in sums}
        pointers = []
        for dtype in ("float32", "float64"):
            found = device.addresses([of_dtype[dtype]]) if dtype in of_dtype else (0,)
            pointers.append(int(found[0]))
        self._arguments = [
            driver.Arguments(*pointers, size, look, workspace, self._numbers.address, control)
            for look in range(3)
        ]
        self._measured_again = KnownVerdict(control=control + 8 * RESULTS)

    def again(self, limit: float | None, scale: float) -> Verdict | None:
        with entered(self._device):
            stream = self._device.stream()
            if not driver.capturing(stream):
                self._send(limit, scale)
            driver.launch(self._kernel, (1, 1), BLOCK, self._arguments[1], stream)
        return self._measured_again

    def decide(self, limit: float | None, scale: float) -> Verdict:
        with entered(self._device):
            stream = self._device.stream()
            arguments = self._arguments[2 if self._squares else 0]
            driver.launch(self._kernel, (1, 1), BLOCK, arguments, stream)
            download = None
            if not driver.capturing(stream):
                self._downloads.reverse()
                download = self._downloads[0]
                download.start()
        return DeviceVerdict(self._device, self._control, download)

    def prepare(self, limit: float | None, scale: float) -> None:
        with entered(self._device):
            self._send(limit, scale)

    def _send(self, limit: float | None, scale: float) -> None:
        self._numbers.send(np.array([math.inf if limit is None else limit, scale], np.float64))
