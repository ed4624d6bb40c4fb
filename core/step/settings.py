"""The settings of a step that belong to the whole optimizer, not to a group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..language.dtypes import Cast
from ..language.intervals import POSITIVE, checked_number, plain
from ..parameters.hyper import at_step
from ..protocol import NOT_MEASURED, Verdict
from .loss_scaler import LossScaler


@dataclass(frozen=True)
class Settings:
    """The settings of a step that belong to the whole optimizer rather than to a group."""

    clip_global_norm: Any = None  # a number or None; before `at` also a schedule
    skip_nonfinite: bool = False
    loss_scaler: LossScaler | None = None
    accumulation_steps: int = 1
    cast_gradients: Cast = False  # of an optimizer of arrays True or False
    warn_lost_updates: bool = True
    grad_scale: float = 1.0  # somebody else's loss scale, to be divided out of the gradients
    verdict: Verdict = NOT_MEASURED  # or somebody else's, who has looked at the gradients

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if (number := plain(value)) is not value:
                object.__setattr__(self, name, number)

    @property
    def skips(self) -> bool:
        """True if a step with gradients that are not finite is left out, clipped or not."""
        return bool(self.skip_nonfinite) or self.loss_scaler is not None

    def at(self, step: int, where: str = "") -> Settings:
        """Return the settings of one step; itself where nothing is a schedule.

        Raises TypeError or ValueError, beginning with ``where``, for what cannot be used.
        """
        limit = at_step(self.clip_global_norm, step)
        now = self if limit is self.clip_global_norm else replace(self, clip_global_norm=limit)
        now._check(where)
        return now

    def _check(self, where: str) -> None:
        limit, steps = self.clip_global_norm, self.accumulation_steps
        if limit is not None:
            checked_number(f"{where}clip_global_norm", limit, POSITIVE)
        for name in ("skip_nonfinite", "cast_gradients", "warn_lost_updates"):
            value = getattr(self, name)
            if not isinstance(value, (bool, int)) or value not in (0, 1):
                raise TypeError(f"{where}{name} must be True or False, not {value!r}")
        if not (self.loss_scaler is None or isinstance(self.loss_scaler, LossScaler)):
            raise TypeError(
                f"{where}loss_scaler must be a samestep.LossScaler or None, not {self.loss_scaler!r}"
            )
        if isinstance(steps, bool) or not isinstance(steps, int):
            raise TypeError(f"{where}accumulation_steps must be an integer, not {steps!r}")
        if steps < 1:
            raise ValueError(f"{where}accumulation_steps must be at least 1, not {steps}")
