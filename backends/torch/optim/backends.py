"""The backends of a torch optimizer: one of the same name for each device."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from ....choice import get_backend
from ....protocol import Backend
from .groups import device_of, waits


class Backends:
    """The backend of each device that parameters are on. ``name`` is that of all of them, None
    until parameters decide."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self._of_device: dict[torch.device, Backend] = {}

    def of(self, param: torch.Tensor) -> Backend:
        """Return the backend of the device that the parameter is on."""
        device = device_of(param)
        if device not in self._of_device:
            self._of_device[device] = get_backend(self.name, [param])
        return self._of_device[device]

    def all(self) -> Collection[Backend]:
        """Return those that were asked for since `anew`."""
        return self._of_device.values()

    def anew(self, params: Sequence[torch.Tensor]) -> Backend:
        """Forget all of them, as parameters may be elsewhere by now, and return that of the first
        parameter that can be looked at."""
        self._of_device = {}
        ready = [param for param in params if not waits(param)] or params
        if not ready:  # the parameters that come decide
            return get_backend(self.name)
        first = self.of(ready[0])
        self.name = first.name
        return first


def chosen_backend(backend: str | None, foreach: bool | None, fused: bool | None) -> str | None:
    """Return the name of the backend that these arguments ask for; None for no choice.

    Raises RuntimeError, as torch does, if they ask for several.
    """
    if foreach and fused:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together")
    if foreach is None and fused is None:
        return backend
    if backend is not None:
        raise RuntimeError(f"backend={backend!r} and `foreach` or `fused` both choose one")
    if foreach or fused:
        return "torch:foreach" if foreach else "torch:fused"
    return "torch:forloop"
