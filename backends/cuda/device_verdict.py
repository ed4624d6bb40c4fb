"""The verdict of a device, which the host learns later."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .device import Device
from .staging import Download

RESULTS = 3  # factor of the coefficients, 1 to skip the step (else 0), norm


class DeviceVerdict:
    """A `Verdict` in three numbers on the device; see `judge`.

    ``numbers``: the array that has them. ``download``: the numbers of this step, under way to the
    host. Without one the step was captured: the numbers are those of the last replay, and a replay
    counts, whatever they are.
    """

    coefficient = 1.0  # the device knows it

    def __init__(self, device: Device, numbers: Any, download: Download | None) -> None:
        (address,) = device.addresses([numbers])
        self.control, self.decided = int(address), download is None
        self._device, self._on_device, self._download = device, numbers, download
        self._values: NDArray[Any] | None = None

    def _numbers(self) -> Any:
        if self._download is None:
            return self._device.to_numpy(self._on_device)
        if self._values is None:
            self._values = self._download.wait()
        return self._values

    @property
    def finite(self) -> bool:
        return bool(self.decided or self._numbers()[1] == 0)

    @property
    def norm(self) -> float:
        return float(self._numbers()[2])
