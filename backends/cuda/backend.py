"""The part of a backend that all on CUDA devices share: printed kernels, in order on any stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.rule import Rule
from ...protocol import BackendBase, Judge
from ..launching.arithmetic import check_caller
from . import driver
from .device import Device, entered
from .device_judge import DeviceJudge
from .device_verdict import RESULTS
from .launch import CudaLaunch
from .staging import Download


class CudaBackend(BackendBase):
    """The part of a backend's protocol that is about steps: on the framework's current stream."""

    device: Device
    _last: tuple[int, Any] | None = None  # the stream of the last work: handle, and what keeps it

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> CudaLaunch:
        return CudaLaunch(self.device, rule, param_dtype, grad_dtype)

    def numbers(self, arrays: Sequence[Any]) -> Callable[[], NDArray[np.float64]]:
        with entered(self.device):
            vector = self.device.stacked(arrays)
            (address,) = self.device.addresses([vector]).tolist()
            download = Download(self.device, address, len(arrays))
            download.start()

        def arrived() -> NDArray[np.float64]:
            nonlocal vector
            numbers, vector = download.wait(), None  # kept until it was read
            return numbers

        return arrived

    def judge(self, squares: bool, sums: Sequence[Any]) -> Judge:
        return DeviceJudge(self.device, squares, sums)

    def capturing(self) -> bool:
        with entered(self.device):
            return driver.capturing(self.device.stream())

    def leaves_out(self, control: int) -> bool:
        with entered(self.device):
            download = Download(self.device, control, RESULTS)
            download.start()
            return bool(download.wait()[1] != 0)

    def check_arithmetic(self) -> None:
        """Check how this thread rounds scalars; kernels keep subnormal numbers whatever the
        processor is set to. What can be seen besides is that a step comes on another stream than
        what was before it."""
        check_caller(may_flush=True)
        self.follow()

    def follow(self) -> None:
        """Make the current stream wait for this optimizer's work on other streams. A captured step
        runs when it is replayed, after `Launch.prepare`, which follows what was before that."""
        current = self.device.stream()
        if self._last is not None and self._last[0] == current:
            return
        with entered(self.device):
            if driver.capturing(current):
                return
            if self._last is not None:
                event = driver.Event()
                event.record(self._last[0])
                event.precede(current)
        self._last = current, self.device.stream_object()
