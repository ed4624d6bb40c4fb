"""A CUDA device as the framework uses it that owns the arrays there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays import Arrays
from .driver import enter


class Device(Arrays, Protocol):
    """A framework's arrays on one device, its memory and its streams.

    ``number`` is CUDA's number of the device in this process.
    """

    number: int

    def current(self) -> AbstractContextManager[Any]:
        """Return a block in which the device is current."""

    def stream(self) -> int:
        """Return the handle of the framework's current stream on this device."""

    def stream_object(self) -> Any:
        """Return the framework's object of that stream, which lives as long as this is kept."""

    def empty(self, size: int, dtype: str) -> Any:
        """Return a vector whose elements are not initialized."""

    def stacked(self, arrays: Sequence[Any]) -> Any:
        """Return a vector of float64 with the numbers that these arrays without axes have."""

    def to_numpy(self, array: Any) -> NDArray[np.generic]:
        """Return a copy on the host, when what is under way on the current stream is done."""


@contextmanager
def entered(device: Device) -> Iterator[None]:
    """Make a device current, and its primary context that of this thread."""
    with device.current():
        enter(device.number)
        yield
