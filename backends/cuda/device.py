"""A CUDA device as the framework uses it that owns the arrays there."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays import Arrays


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

    def to_numpy(self, array: Any) -> NDArray[np.generic]:
        """Return a copy on the host, when what is under way on the current stream is done."""
