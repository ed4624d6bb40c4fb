"""Dynamic loss scaling for half-precision gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..language.intervals import Interval, checked_number
from ..language.keywords import known_keywords

NAMES = ("scale", "good_steps", "growth_factor", "backoff_factor", "growth_interval")
SMALLEST = 2.0**-126  # the smallest normal number of float32: the scale does not vanish
SCALES = Interval(SMALLEST, math.inf, high_open=True)
GROWTH = Interval(1.0, math.inf, low_open=True, high_open=True)
BACKOFF = Interval(0.0, 1.0, low_open=True, high_open=True)


class LossScaler:
    """A factor for the loss, so that small half-precision gradients do not vanish.

    Multiply the loss (or the first gradient of the backward pass) by ``scale``; the optimizer
    divides it out again inside its launch. A step whose gradients are not all finite is skipped
    and the scale falls; after ``growth_interval`` good steps in a row it rises. The method and
    its defaults are those of Micikevicius et al., Mixed Precision Training, arXiv:1710.03740,
    section 3.2, and of torch's GradScaler.

    Several optimizers may share one. Each leaves out its own steps, and all divide by the scale
    that was read last: what their steps say about it counts once, and takes effect when ``scale``
    is read next, or when one of them takes another step. So read it for each backward pass.

    Parameters
    ----------
    scale : float
        The first scale. Powers of two are divided out exactly.
    growth_factor, backoff_factor : float
        The factors of the scale when it rises (> 1) and falls (between 0 and 1).
    growth_interval : int
        Good steps in a row before it rises.
    """

    @known_keywords()
    def __init__(
        self,
        scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        good_steps: int = 0,
    ) -> None:
        self._scale = checked_number("scale", scale, SCALES)
        self.growth_factor = checked_number("growth_factor", growth_factor, GROWTH)
        self.backoff_factor = checked_number("backoff_factor", backoff_factor, BACKOFF)
        if growth_interval != int(growth_interval) or growth_interval < 1:
            raise ValueError(f"growth_interval must be a positive integer, not {growth_interval!r}")
        if good_steps != int(good_steps) or not 0 <= good_steps < growth_interval:
            raise ValueError(
                f"good_steps must be an integer in [0, growth_interval), not {good_steps!r}"
            )
        self._undecided: list[Callable[[], None]] = []
        self._steps: dict[int, bool] = {}  # of each optimizer: whether its gradients were finite
        self._good_steps, self.growth_interval = int(good_steps), int(growth_interval)

    @property
    def scale(self) -> float:
        """The factor of the loss, after the steps so far. Where a device decides about steps,
        reading it waits until the device has seen the last step's gradients."""
        self._settle()
        return self._scale

    @scale.setter
    def scale(self, value: float) -> None:
        self._settle()
        self._scale = checked_number("scale", value, SCALES)

    @property
    def good_steps(self) -> int:
        """Steps in a row whose gradients were finite since the scale last changed."""
        self._settle()
        return self._good_steps

    @good_steps.setter
    def good_steps(self, value: int) -> None:
        self._settle()
        self._good_steps = value

    def scale_for(self, optimizer: int) -> float:
        """Return the scale of the gradients of an optimizer's next step; ``optimizer`` is its
        ``id``."""
        if optimizer in self._steps:
            self._settle()
        return self._scale

    def take_note(self, optimizer: int, finite: bool) -> None:
        """Take note of an optimizer's step, until the scale is needed for another one."""
        self._steps[optimizer] = finite

    def wait_for(self, settle: Callable[[], None]) -> None:
        """Take note that a device decides about a step; ``settle`` asks it, and calls
        `take_note`."""
        self._undecided.append(settle)

    def _settle(self) -> None:
        while self._undecided:
            self._undecided.pop(0)()
        if self._steps:
            finite = all(self._steps.values())
            self._steps.clear()
            self.update(finite)

    def update(self, finite: bool) -> None:
        """Count a step whose gradients were all finite, or were not."""
        if not finite:
            self.scale = max(self.scale * self.backoff_factor, SMALLEST)
            self.good_steps = 0
            return
        self.good_steps += 1
        if self.good_steps == self.growth_interval:
            self.good_steps = 0
            if math.isfinite(self.scale * self.growth_factor):
                self.scale *= self.growth_factor

    def state_dict(self) -> dict[str, Any]:
        """Return all there is, as plain numbers: ``LossScaler(**scaler.state_dict())`` is its
        equal."""
        return {name: getattr(self, name) for name in NAMES}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the equal of the scaler that ``state`` is of. Raises as the constructor does."""
        loaded = vars(LossScaler(**state))
        self._settle()
        vars(self).update(loaded)

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        return dict(vars(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LossScaler) and self.state_dict() == other.state_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"LossScaler({', '.join(f'{k}={v!r}' for k, v in self.state_dict().items())})"
