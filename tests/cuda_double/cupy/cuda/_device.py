from __future__ import annotations

from typing import Any

from . import runtime


class Device:
    def __init__(self, device: Any = None) -> None:
        self.id = runtime.getDevice() if device is None else int(device)
        self._outer: list[int] = []

    def __enter__(self) -> Device:
        self._outer.append(runtime.getDevice())
        runtime.setDevice(self.id)
        return self

    def __exit__(self, *args: Any) -> None:
        runtime.setDevice(self._outer.pop())

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    __hash__ = None  # type: ignore[assignment]

    def synchronize(self) -> None:
        from .._work import run_everything

        run_everything()

    @property
    def compute_capability(self) -> str:
        return "80"
