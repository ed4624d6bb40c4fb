"""One step, from gradients to parameters: accumulate, unscale, measure, clip, skip or update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..language.clipping import clipped
from ..language.rule import Rule
from ..language.scalars import next_scalars
from ..language.zero_gradient import check_rule
from ..parameters.clock import Clock, split
from ..parameters.hyper import GroupHyper
from ..protocol import Backend, Dtypes, Gradients, Tensor, Verdict
from .accumulation import Accumulation
from .launches import KeptLaunches, Launches
from .measurement import Measurement
from .outcome import Outcome
from .settings import Settings


class Work:
    """The launches of a step over some tensors: those that measure, and those that update."""

    def __init__(self, backend: Backend, tensors: Sequence[Tensor]) -> None:
        self._backend, self._tensors = backend, tensors
        self.updates = Launches(backend, tensors)
        self.measurement: Measurement | None = None

    def measure(
        self,
        gradients: Gradients,
        dtypes: Dtypes,
        coefficient: float,
        limit: float | None,
        skips: bool,
    ) -> Verdict:
        """Measure what clipping to ``limit`` and skipping need to know of the gradients."""
        key = (limit is not None, skips)
        if self.measurement is None or self.measurement.key != key:
            self.measurement = Measurement(self._backend, self._tensors, *key)
        return self.measurement.run(gradients, dtypes, coefficient, limit)

    def bind_again(self) -> None:
        """Tell everything that has addresses of the tensors that these lie elsewhere now."""
        self.updates.bind_again()
        self.measurement = None


@dataclass
class Recording:
    """The choices that captured work was recorded with and that a replay cannot change."""

    takes_part: Sequence[bool]
    verdict: Verdict | None


class Stepping:
    """Everything that a step of these parameters needs, kept from one step to the next."""

    def __init__(self, backend: Backend, tensors: list[Any], clocks: list[Clock]) -> None:
        self._backend, self._tensors, self._clocks = backend, tensors, clocks
        self._hyper: list[GroupHyper] = []
        self._checker = backend.gradient_checker(tensors)
        self._work = Work(backend, tensors)
        self._accumulation: Accumulation | None = None
        self._recording: Recording | None = None
        self._kept: Any = KeptLaunches(backend)  # for gradients of some rows
        self._takes_part: Sequence[bool] = ()
        self._all_take_part = True

    @property
    def accumulation(self) -> Accumulation:
        """The sums of gradients over micro-batches; allocated when they are first needed."""
        if self._accumulation is None:
            self._accumulation = Accumulation(self._backend, self._tensors)
        return self._accumulation

    @property
    def micro_steps(self) -> int:
        """The number of micro-batches that have been added since the last step."""
        return 0 if self._accumulation is None else self._accumulation.count

    def set_hyper(self, hyper: list[GroupHyper]) -> None:
        """Use these hyperparameters from now on, one object per group."""
        if [group.clips for group in hyper] != [group.clips for group in self._hyper]:
            self._work.updates.forget()  # other kernels
            self._recording = None
        self._hyper = hyper

    def run(
        self, leaves: list[Any], takes_part: Sequence[bool], settings: Settings
    ) -> Outcome | None:
        """Take one gradient (or None) per parameter, and a step.

        ``takes_part``: the parameters that are not frozen; the gradients of others are checked
        too, and then left alone. Returns None where no step was taken: between micro-batches, or
        if it was only captured. Raises TypeError or ValueError before anything is changed.
        """
        capturing = self._backend.capturing()
        if capturing:
            self._check_capture(settings)
            self._check_ready(settings)
        gradients = self._checker.accept(leaves)
        try:
            if self._checker.moved:
                self._look_again()
            self._backend.check_arithmetic()
            dtypes = self._dtypes_of(gradients, takes_part)
            work = self._work
            if gradients.rows:
                work = self._work_on_rows(gradients, dtypes, settings)
            return self._advance(work, gradients, dtypes, settings, capturing)
        finally:
            gradients.release()

    def _dtypes_of(self, gradients: Gradients, takes_part: Sequence[bool]) -> Dtypes:
        """The gradients' dtypes, None for those of frozen parameters."""
        if takes_part is not self._takes_part:
            self._takes_part, self._all_take_part = takes_part, all(takes_part)
        if self._all_take_part:
            return gradients.dtypes
        return [d if now else None for d, now in zip(gradients.dtypes, takes_part, strict=True)]

    def _advance(
        self,
        work: Work,
        gradients: Gradients,
        dtypes: Dtypes,
        settings: Settings,
        capturing: bool,
    ) -> Outcome | None:
        coefficient = 1.0 / settings.grad_scale
        if settings.accumulation_steps > 1 or self.micro_steps:
            self.accumulation.add(gradients, dtypes)
            count = self.accumulation.count
            if count < settings.accumulation_steps:
                return None
            gradients = self.accumulation.take()
            dtypes = gradients.dtypes
            coefficient /= count
        scaler = settings.loss_scaler
        if scaler is not None:
            coefficient /= scaler.scale
        limit, skips, outcome = settings.clip_global_norm, settings.skips, Outcome()
        verdict = settings.verdict
        if verdict is not None:
            outcome.depend_on(verdict, False, True, None)
        elif limit is not None or skips:
            verdict = work.measure(gradients, dtypes, coefficient, limit, skips)
            coefficient *= verdict.coefficient
            outcome.depend_on(verdict, limit is not None, skips, scaler)
        if verdict is None or not (skips and verdict.decided and not verdict.finite):
            work.updates.choose(dtypes, self._rules_and_clocks)
            outcome.carries = self._set_rows(work.updates, coefficient)
            for bucket in work.updates:
                bucket.mark_changed()
                bucket.run(gradients, None if verdict is None else verdict.control)
        if capturing:
            self._recording = Recording(self._takes_part, verdict)
            return None
        if outcome.decided:
            outcome.settle()
        elif scaler is not None:
            scaler.wait_for(outcome.settle)
        return outcome

    def _rules_and_clocks(self, dtypes: Dtypes) -> tuple[Sequence[Rule], Sequence[Clock]]:
        split(self._clocks, [dtype is not None for dtype in dtypes])
        rules = [clipped(clock.rule, self._hyper[clock.group].clips) for clock in self._clocks]
        return rules, self._clocks

    def _set_rows(
        self, updates: Launches, coefficient: float
    ) -> list[tuple[Clock, dict[str, float]]]:
        """Compute the scalars of the next step. Returns each clock with its carry after the step."""
        carries: dict[int, tuple[Clock, dict[str, float]]] = {}
        for bucket in updates:
            rows = []
            for clock in bucket.keys:
                hyper = self._hyper[clock.group]
                numbers = hyper.numbers(clock.decays)
                row, carry = next_scalars(bucket.rule, clock.step, clock.carry, numbers)
                rows.append((*row.values(), hyper.sign * coefficient))
                carries[id(clock)] = (clock, carry)
            bucket.set_rows(rows)
        return list(carries.values())

    def _work_on_rows(self, gradients: Gradients, dtypes: Dtypes, settings: Settings) -> Work:
        """The launches of a step in which some parameters have gradients of some rows only: these
        rows stand in the parameters' places. Raises TypeError for a rule that cannot go by rows."""
        if settings.accumulation_steps > 1 or self.micro_steps:
            raise TypeError(
                "gradients of some rows are not accumulated over micro-batches; give their indices "
                "and values in one gradient"
            )
        self._work.updates.forget()  # clocks may be others afterwards
        tensors = list(self._tensors)
        for i, indices in gradients.rows.items():
            clock, tensor = self._clocks[i], self._tensors[i]
            hyper = self._hyper[clock.group]
            if dtypes[i] is not None:
                numbers = hyper.numbers(clock.decays)
                row, _ = next_scalars(clock.rule, clock.step, clock.carry, numbers)
                check_rule(tensor.name, clock.rule, hyper.clips, row, hyper.lazy)
            tensors[i] = tensor.some_rows(indices)
        return Work(self._kept, tensors)

    def _look_again(self) -> None:
        """Follow parameters that lie elsewhere than they did."""
        self._backend.check_overlap(self._tensors)
        self._work.bind_again()
        self._checker.moved = False

    # ---- work that is captured and replayed

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
        clips, measurement = settings.clip_global_norm is not None, self._work.measurement
        measured = measurement is not None and measurement.key == (clips, False)
        if not list(self._work.updates) or (clips and not measured):
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
        if found.verdict is not None and self._work.measurement is not None:
            outcome.depend_on(found.verdict, True, False, None)
            self._work.measurement.prepare(1.0, limit)
        outcome.carries = self._set_rows(self._work.updates, 1.0)
        for bucket in self._work.updates:
            bucket.prepare()
        outcome.settle()
        return outcome
