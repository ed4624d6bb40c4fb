"""One step, from gradients to parameters: accumulate, unscale, measure, clip, skip or update."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..language.clipping import clipped
from ..language.rule import Rule
from ..language.scalars import next_scalars
from ..language.zero_gradient import check_rule
from ..parameters.clock import Clock, split
from ..parameters.hyper import GroupHyper
from ..protocol import Backend, Verdict
from .accumulation import Accumulation
from .incoming import Incoming
from .launches import Buckets, KeptLaunches, Target
from .measurement import Measurement
from .outcome import Outcome
from .settings import Settings


@dataclass
class Recording:
    """What the work that was captured depends on and a replay cannot change."""

    takes_part: Sequence[bool]
    verdict: Verdict | None


class Stepping:
    """Everything that a step of these parameters needs, kept from one step to the next."""

    def __init__(self, backend: Backend, tensors: list[Any], clocks: list[Clock]) -> None:
        self._backend, self._tensors, self._clocks = backend, tensors, clocks
        self._hyper: list[GroupHyper] = []
        self._incoming = Incoming(backend, tensors)
        self._update = Buckets(backend, tensors)
        self._measurement: Measurement | None = None
        self._accumulation: Accumulation | None = None
        self._recording: Recording | None = None
        self._kept: Any = KeptLaunches(backend)  # of rows

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
            self._recording = None
        self._hyper = hyper

    def _rules_and_clocks(self, kinds: list[str | None]) -> tuple[Sequence[Rule], Sequence[Clock]]:
        split(self._clocks, [kind is not None for kind in kinds])
        rules = [clipped(clock.rule, self._hyper[clock.group].clips) for clock in self._clocks]
        return rules, self._clocks

    def run(
        self, leaves: list[Any], takes_part: Sequence[bool], settings: Settings
    ) -> Outcome | None:
        """Take one gradient (or None) per parameter. None where no step was taken: between
        micro-batches, or if it was only captured."""
        capturing = self._backend.capturing()
        if capturing:
            self._check_capture(settings)
            self._check_ready(settings)
        grads, target = self._incoming.take(leaves, takes_part)
        if self._incoming.moved:
            self._look_again()
        self._backend.check_arithmetic()
        stepping = self._by_rows(target.rows, takes_part, settings) if target.rows else self
        return stepping._advance(grads, target, takes_part, settings, capturing)

    def _advance(
        self,
        grads: list[Any],
        target: Target,
        takes_part: Sequence[bool],
        settings: Settings,
        capturing: bool,
    ) -> Outcome | None:
        coefficient = 1.0 / settings.grad_scale
        if settings.accumulation_steps > 1 or self.micro_steps:
            self.accumulation.add(target, grads)
            count = self.accumulation.count
            if count < settings.accumulation_steps:
                return None
            grads, target = self.accumulation.take()
            coefficient /= count
        scaler = settings.loss_scaler
        if scaler is not None:
            coefficient /= scaler.scale
        limit, skips, verdict, outcome = settings.clip_global_norm, settings.skips, None, Outcome()
        if limit is not None or skips:
            verdict = self._measure(target, grads, coefficient, limit, skips)
            coefficient *= verdict.coefficient
            outcome.depend_on(verdict, limit is not None, skips, scaler)
        if verdict is None or not (skips and verdict.decided and not verdict.finite):
            self._update.point_at(target, self._rules_and_clocks)
            outcome.carries = self._next_rows(coefficient)
            for bucket in self._update:
                bucket.mark_changed()
                bucket.run(grads, None if verdict is None else verdict.control)
        if capturing:
            self._recording = Recording(takes_part, verdict)
            return None
        if outcome.decided:
            outcome.settle()
        elif scaler is not None:
            scaler.wait_for(outcome.settle)
        return outcome

    def _by_rows(
        self, rows: Mapping[int, Any], takes_part: Sequence[bool], settings: Settings
    ) -> Stepping:
        """Itself, with some rows of parameters in the place of these; raises for a rule that
        cannot go by rows."""
        if settings.accumulation_steps > 1 or self.micro_steps:
            raise TypeError(
                "gradients of some rows are not accumulated over micro-batches; give their indices "
                "and values in one gradient"
            )
        self._update.forget()  # clocks may be others afterwards
        one = copy.copy(self)
        one._tensors, one._backend, one._measurement = list(self._tensors), self._kept, None
        for i, indices in rows.items():
            clock, tensor = self._clocks[i], self._tensors[i]
            hyper = self._hyper[clock.group]
            if takes_part[i]:
                row, _ = next_scalars(
                    clock.rule, clock.step, clock.carry, hyper.numbers(clock.decays)
                )
                check_rule(tensor.name, clock.rule, hyper.clips, row, hyper.lazy)
            one._tensors[i] = tensor.rows(indices)
        one._update = Buckets(one._backend, one._tensors)
        return one

    def _check_capture(self, settings: Settings) -> None:
        """Raise RuntimeError for what a replay could not do."""
        if settings.skips:
            raise RuntimeError(
                "a step that is left out where a gradient is not finite cannot be captured: "
                "whether it counts is decided between steps; capture without skip_nonfinite and "
                "loss_scaler"
            )
        if settings.accumulation_steps > 1 or self.micro_steps:
            raise RuntimeError("accumulation over micro-batches cannot be captured")

    def _check_ready(self, settings: Settings) -> None:
        """Raise RuntimeError if something would have to be allocated first."""
        key = (settings.clip_global_norm is not None, False)
        measured = self._measurement is not None and self._measurement.key == key
        if not list(self._update) or (key[0] and not measured):
            raise RuntimeError(
                "a step must be taken before one is captured, with the same parameters and options"
            )

    def prepare(self, takes_part: Sequence[bool], settings: Settings) -> Outcome:
        """Hand the scalars of the next step to the work that was captured."""
        self._backend.check_arithmetic()
        self._check_capture(settings)
        found, limit = self._recording, settings.clip_global_norm
        if found is None or found.takes_part is not takes_part:
            raise RuntimeError("prepare: no step of these parameters and options was captured yet")
        if (found.verdict is None) != (limit is None):
            raise RuntimeError("prepare: clip_global_norm was switched on or off since the capture")
        outcome = Outcome()
        if found.verdict is not None and self._measurement is not None:
            outcome.depend_on(found.verdict, True, False, None)
            self._measurement.prepare(1.0, limit)
        outcome.carries = self._next_rows(1.0)
        for bucket in self._update:
            bucket.prepare()
        outcome.settle()
        return outcome

    def _look_again(self) -> None:
        """Parameters lie elsewhere than they did: tell everything that has their addresses."""
        self._backend.check_overlap(self._tensors)
        self._update.bind_again()
        self._measurement = None
        self._incoming.moved = False

    def _measure(
        self, target: Target, grads: list[Any], coefficient: float, limit: float | None, skips: bool
    ) -> Verdict:
        key = (limit is not None, skips)
        if self._measurement is None or self._measurement.key != key:
            self._measurement = Measurement(self._backend, self._tensors, *key)
        return self._measurement.run(target, grads, coefficient, limit)

    def _next_rows(self, coefficient: float) -> list[tuple[Clock, dict[str, float]]]:
        """Compute the scalars of the next step; the clocks, and what they will carry after it."""
        carries: dict[int, tuple[Clock, dict[str, float]]] = {}
        for bucket in self._update:
            rows = []
            for clock in bucket.keys:
                hyper = self._hyper[clock.group]
                row, carry = next_scalars(
                    bucket.rule, clock.step, clock.carry, hyper.numbers(clock.decays)
                )
                rows.append((*row.values(), hyper.sign * coefficient))
                carries[id(clock)] = (clock, carry)
            bucket.rows = bucket.as_rows(rows)
        return list(carries.values())
