"""The settings of an optimizer as a whole, as attributes that may be changed between steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..step.loss_scaler import LossScaler
from ..step.run import Run

Number = float | Callable[[int], float]


def _setting(name: str, about: str) -> Any:
    """Make an attribute that reads a setting of the run, and changes it from the next step on."""

    def read(self: Adjustable) -> Any:
        return getattr(self._run.settings, name)

    def change(self: Adjustable, value: Any) -> None:
        self._run.change(**{name: value})

    return property(read, change, doc=about)


class Adjustable:
    """The part of an optimizer that reads and changes its settings."""

    __slots__ = ()
    _run: Run

    clip_global_norm: Number | None = _setting(
        "clip_global_norm", "The longest norm that all gradients together may have."
    )
    skip_nonfinite: bool = _setting(
        "skip_nonfinite", "True if a step with infinite or NaN gradients is left out."
    )
    loss_scaler: LossScaler | None = _setting(
        "loss_scaler", "The scaler whose scale is divided out of the gradients."
    )
    accumulation_steps: int = _setting(
        "accumulation_steps", "The number of calls of ``step`` that make one update."
    )
    cast_gradients: bool = _setting(
        "cast_gradients", "True if gradients of other dtypes are rounded, not refused."
    )
