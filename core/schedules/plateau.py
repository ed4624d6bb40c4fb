"""Reduction when a metric stops improving: the one schedule that has a memory."""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Annotated, Any, SupportsFloat

from .arguments import CountOrZero, Factor, Finite, Nonnegative, check_choice, checks_of
from .schedule import Schedule, kind


def check_best(name: str, value: Any) -> float:
    """A number that is not NaN; an infinite one as the string that JSON has for it here."""
    if isinstance(value, str) and value in ("inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, 'inf' or '-inf', not {reprlib.repr(value)}")
    if math.isnan(value):
        raise ValueError(f"{name} must not be NaN")
    return float(value)


@dataclass
class Memory:
    """The memory of a plateau: its present ``value``, the ``best`` metric, the number of bad
    epochs in a row and what remains of the cooldown. Names as torch's."""

    value: Finite
    best: Annotated[float, check_best]
    num_bad_epochs: CountOrZero = 0
    cooldown_counter: CountOrZero = 0

    def to_json(self) -> dict[str, Any]:
        """The memory as plain JSON values."""
        plain = dict(vars(self))
        return plain if math.isfinite(self.best) else {**plain, "best": str(self.best)}


@kind
class reduce_on_plateau(Schedule):
    """``base``, times ``factor`` whenever the metric has not improved for more than ``patience``
    observations. torch's ReduceLROnPlateau.

    Its value depends on what it has observed and not on the step: call `observe` once an epoch.
    ``memory`` is what it has seen; it belongs to equality, to pickles and to JSON, and is not
    part of what is printed.

    Parameters
    ----------
    mode : {"min", "max"}
        Which metrics are good.
    factor : float
        In [0, 1).
    patience : int
        Bad observations in a row that change nothing.
    threshold, threshold_mode : float, {"rel", "abs"}
        By how much a metric must beat the best: relative to it (then less than 1) or not.
    cooldown : int
        Observations after a reduction that do not count as bad.
    min_value : float
        It is never reduced below; at most ``base``.
    eps : float
        A reduction by less than or just this is left out.
    """

    base: Finite
    mode: Annotated[str, partial(check_choice, choices=("min", "max"))] = "min"
    factor: Factor = 0.1
    patience: CountOrZero = 10
    threshold: Nonnegative = 1e-4
    threshold_mode: Annotated[str, partial(check_choice, choices=("rel", "abs"))] = "rel"
    cooldown: CountOrZero = 0
    min_value: Finite = 0.0
    eps: Nonnegative = 1e-8
    memory: Memory = field(init=False, repr=False)

    def _check_together(self) -> None:
        if self.min_value > self.base:
            raise ValueError(
                f"{self.kind}: min_value={self.min_value:g} must not be above base={self.base:g}"
            )
        if self.threshold_mode == "rel" and self.threshold >= 1:
            raise ValueError(
                f"{self.kind}: a relative threshold must be less than 1, not {self.threshold:g}"
            )
        worst = math.inf if self.mode == "min" else -math.inf
        object.__setattr__(self, "memory", Memory(self.base, worst))

    def _at(self, step: int) -> float:
        return self.memory.value

    def observe(self, metric: SupportsFloat) -> None:
        """Take note of a metric, a number. NaN is never an improvement, as in torch.

        Raises TypeError for what ``float`` does not take and for strings; nothing is changed then.
        """
        if not hasattr(metric, "__float__"):
            raise TypeError(f"a metric is a number, not {reprlib.repr(metric)}")
        memory, current = self.memory, float(metric)
        if self._is_better(current):
            memory.best, memory.num_bad_epochs = current, 0
        else:
            memory.num_bad_epochs += 1
        if memory.cooldown_counter > 0:
            memory.cooldown_counter -= 1
            memory.num_bad_epochs = 0
        if memory.num_bad_epochs > self.patience:
            reduced = max(memory.value * self.factor, self.min_value)
            if memory.value - reduced > self.eps:
                memory.value = reduced
            memory.cooldown_counter, memory.num_bad_epochs = self.cooldown, 0

    def _is_better(self, metric: float) -> bool:
        best, sign = self.memory.best, -1 if self.mode == "min" else 1
        relative = self.threshold_mode == "rel"
        to_beat = best * (1 + sign * self.threshold) if relative else best + sign * self.threshold
        return metric < to_beat if self.mode == "min" else metric > to_beat

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> reduce_on_plateau:
        """The schedule with the memory that `to_json` wrote."""
        options = dict(arguments)
        saved = options.pop("memory")
        plateau = cls(**options)
        names = [entry.name for entry in fields(Memory)]
        if not isinstance(saved, dict) or saved.keys() != set(names):
            raise ValueError(
                f"{plateau.kind}: memory must have {', '.join(names)}, not {reprlib.repr(saved)}"
            )
        for name, check in checks_of(Memory).items():
            setattr(plateau.memory, name, check(f"{plateau.kind}: memory.{name}", saved[name]))
        return plateau


def plateaus(schedule: Schedule) -> list[reduce_on_plateau]:
    """Return the plateaus in a schedule, itself included, each once, from left to right: what wants
    to `observe`. After a composition came from JSON this is the way to them."""
    found = [schedule] if isinstance(schedule, reduce_on_plateau) else []
    for part in schedule.parts:
        found += [p for p in plateaus(part) if not any(p is known for known in found)]
    return found
