"""One step, from gradients to parameters: accumulate, unscale, measure, clip, skip or update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .accumulation import Accumulation
from .backend import Backend
from .bucket import Buckets, Target
from .clipping import clipped
from .clock import Clock, next_scalars, split
from .hyper import GroupHyper
from .incoming import Incoming
from .loss_scaler import LossScaler
from .measure import Measurement, clip_coefficient
from .rule import Rule


@dataclass
class Settings:
    """What of a step belongs to the whole optimizer rather than to a group."""

    clip_global_norm: float | None = None
    skip_nonfinite: bool = False
    loss_scaler: LossScaler | None = None
    accumulation_steps: int = 1

    def checked(self, where: str = "") -> Settings:
        """Itself, or TypeError or ValueError for what cannot be used."""
        limit, steps = self.clip_global_norm, self.accumulation_steps
        if limit is not None:
            if isinstance(limit, (str, bool)) or not hasattr(limit, "__float__"):
                raise TypeError(f"{where}clip_global_norm must be a number or None, not {limit!r}")
            if not (float(limit) > 0 and math.isfinite(limit)):
                raise ValueError(f"{where}clip_global_norm must be positive, not {limit!r}")
        if not isinstance(self.skip_nonfinite, (bool, int)) or self.skip_nonfinite not in (0, 1):
            raise TypeError(f"{where}skip_nonfinite must be True or False")
        if not (self.loss_scaler is None or isinstance(self.loss_scaler, LossScaler)):
            raise TypeError(f"{where}loss_scaler must be a samestep.LossScaler or None")
        if isinstance(steps, bool) or not isinstance(steps, int):
            raise TypeError(f"{where}accumulation_steps must be an integer, not {steps!r}")
        if steps < 1:
            raise ValueError(f"{where}accumulation_steps must be at least 1, not {steps}")
        return self


@dataclass
class Outcome:
    """What became of a step: whether the parameters moved, whether it was skipped because a
    gradient was not finite, and the norm of all gradients before clipping if it was measured."""

    updated: bool
    skipped: bool = False
    grad_norm: float | None = None


class Stepping:
    """Everything that a step of these parameters needs, kept from one step to the next."""

    def __init__(self, backend: Backend, tensors: list[Any], clocks: list[Clock]) -> None:
        self._backend, self._tensors, self._clocks = backend, tensors, clocks
        self._hyper: list[GroupHyper] = []
        self._incoming = Incoming(backend, tensors)
        self._update = Buckets(backend, tensors)
        self._measurement: Measurement | None = None
        self._accumulation: Accumulation | None = None

    @property
    def accumulation(self) -> Accumulation:
        """The sums of gradients over micro-batches; allocated when they are first needed."""
        if self._accumulation is None:
            self._accumulation = Accumulation(self._backend, self._tensors)
        return self._accumulation

    @property
    def micro_steps(self) -> int:
        """How many micro-batches have been added since the last step."""
        return 0 if self._accumulation is None else self._accumulation.count

    def set_hyper(self, hyper: list[GroupHyper]) -> None:
        """The hyperparameters from now on."""
        if [group.clips for group in hyper] != [group.clips for group in self._hyper]:
            self._update.forget()  # other kernels
        self._hyper = hyper

    def _rules_and_clocks(self, kinds: list[str | None]) -> tuple[Sequence[Rule], Sequence[Clock]]:
        split(self._clocks, [kind is not None for kind in kinds])
        rules = [clipped(clock.rule, self._hyper[clock.group].clips) for clock in self._clocks]
        return rules, self._clocks

    def run(self, leaves: list[Any], takes_part: Sequence[bool], settings: Settings) -> Outcome:
        """Take one gradient (or None) per parameter."""
        grads, target = self._incoming.take(leaves, takes_part)
        self._backend.check_arithmetic()
        coefficient = 1.0
        if settings.accumulation_steps > 1 or self.micro_steps:
            self.accumulation.add(target, grads)
            count = self.accumulation.count
            if count < settings.accumulation_steps:
                return Outcome(updated=False)
            grads, target = self.accumulation.take()
            coefficient /= count
        scaler = settings.loss_scaler
        if scaler is not None:
            coefficient /= scaler.scale
        outcome = Outcome(updated=True)
        limit, skips = settings.clip_global_norm, settings.skip_nonfinite or scaler is not None
        if limit is not None or skips:
            norm, finite = self._measure(target, grads, coefficient, limit is not None, skips)
            if limit is not None:
                outcome.grad_norm = norm
                coefficient *= clip_coefficient(norm, limit)
            if scaler is not None:
                scaler.update(finite)
            if not finite:
                outcome.updated, outcome.skipped = False, True
                return outcome
        self._step(target, grads, coefficient)
        return outcome

    def _measure(
        self, target: Target, grads: list[Any], coefficient: float, norm: bool, finite: bool
    ) -> tuple[float, bool]:
        if self._measurement is None or self._measurement.key != (norm, finite):
            self._measurement = Measurement(self._backend, self._tensors, norm, finite)
        return self._measurement.run(target, grads, coefficient)

    def _step(self, target: Target, grads: list[Any], coefficient: float) -> None:
        self._update.point_at(target, self._rules_and_clocks)
        carries: dict[int, tuple[Clock, dict[str, float]]] = {}
        for bucket in self._update:
            rows = []
            for clock in bucket.keys:
                hyper = self._hyper[clock.group]
                row, carry = next_scalars(bucket.rule, clock, hyper.numbers(clock.decays))
                rows.append((*row.values(), hyper.sign * coefficient))
                carries[id(clock)] = (clock, carry)
            bucket.rows = bucket.as_rows(rows)
        for bucket in self._update:
            bucket.run(grads)
            self._backend.mark_changed(bucket.stepping)
        for clock, carry in carries.values():
            clock.step += 1
            clock.carry = carry
