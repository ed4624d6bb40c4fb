"""One step, from gradients to parameters: accumulate, unscale, measure, clip, skip or update."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..language.clipping import clipped
from ..language.dtypes import Cast
from ..language.rounding import key_scalars
from ..language.rule import Rule
from ..language.scalars import next_scalars
from ..language.zero_gradient import check_blocks, check_rule
from ..pages import see
from ..parameters.clock import Clock, split
from ..parameters.hyper import GroupHyper
from ..protocol import NOT_MEASURED, Backend, Dtypes, Gradients, Verdict
from .accumulation import Accumulation
from .hessian import HessianUpdates
from .indexed_slices import is_of_rows
from .launches import KeptLaunches, Launches
from .lost_updates import LostUpdates
from .outcome import Outcome
from .settings import Settings
from .totals import Totals
from .work import Work


class Stepping:
    """Everything that a step of these parameters needs, kept from one step to the next."""

    def __init__(self, backend: Backend, tensors: list[Any], clocks: list[Clock]) -> None:
        self._backend, self._tensors, self._clocks = backend, tensors, clocks
        self._hyper: list[GroupHyper] = []
        self._checker = backend.gradient_checker(tensors)
        self._work, self._totals = Work(backend, tensors), Totals(backend, tensors, clocks)
        self._accumulation: Accumulation | None = None
        self._hessian: HessianUpdates | None = None
        self._lost: LostUpdates | None = LostUpdates(backend, tensors, clocks)
        # the choices of a step that was captured, which a replay cannot change
        self._recorded: tuple[Sequence[bool] | None, Verdict] | None = None
        self._kept: Any = KeptLaunches(backend)  # for gradients of some rows

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

    def restart(self) -> None:
        """Begin anew with clocks that were set anew: no micro-batch has been added."""
        self._work.updates.forget()
        if self._accumulation is not None:
            self._accumulation.restart()

    def set_hyper(self, hyper: list[GroupHyper]) -> None:
        """Use these hyperparameters from now on, one object per group."""
        if [group.clips for group in hyper] != [group.clips for group in self._hyper]:
            self._work.updates.forget()  # other kernels
            self._recorded = None
        self._hyper = hyper

    def bind_again(self) -> None:
        """Tell everything that has addresses that some parameters are other arrays now."""
        self._checker = self._backend.gradient_checker(self._tensors)
        self._work.bind_again()
        self._hessian, self._recorded = None, None

    def update_hessian(
        self,
        estimates: list[Any],
        takes_part: Sequence[bool] | None,
        casts: Cast,
        before: Callable[[], None] | None = None,
    ) -> None:
        """Take in one estimate of the Hessian's diagonal (or None) per parameter. See
        `HessianUpdates.take`."""
        if self._hessian is None:
            self._hessian = HessianUpdates(self._backend, self._tensors)
        self._hessian.take(estimates, takes_part, self._clocks, self._hyper, casts, before)

    def run(
        self,
        leaves: list[Any],
        takes_part: Sequence[bool] | None,
        settings: Settings,
        flush: bool = False,
        before: Callable[[], None] | None = None,
    ) -> Outcome | None:
        """Take one gradient (or None) per parameter, and a step; to ``flush``, none of them and a
        step with the micro-batches so far.

        ``takes_part``: the parameters that are not frozen, None if none is; the gradients of frozen
        ones are checked too, and then left alone. ``before`` is called when everything that can
        raise has been computed; what it raises itself leaves all as it is. Returns None where no
        step was taken: between micro-batches, or if it was only captured. Raises TypeError or
        ValueError before anything is changed.
        """
        capturing = self._backend.capturing()
        if capturing:
            self._check_capture(settings)
            self._check_ready(settings)
            if any(map(is_of_rows, leaves)):
                raise RuntimeError(
                    "a step by gradients of some rows cannot be captured: the host asks the device "
                    f"which rows they are; capture dense ones{see('cuda.md')}"
                )
        self._checker.casts = settings.cast_gradients
        gradients = self._checker.accept(leaves)
        try:
            if self._checker.moved:  # parameters that lie elsewhere than they did
                self._backend.check_overlap(self._tensors)
                self._work.bind_again()
                self._checker.moved = False
            self._backend.check_arithmetic()
            dtypes, work = _stepping_now(gradients, takes_part), self._work
            if gradients.rows:
                work = self._work_on_rows(gradients, dtypes, settings)
            if settings.accumulation_steps == 1 and not self.micro_steps:
                outcome: Outcome | None = self._update(work, gradients, dtypes, settings, 1, before)
            else:
                outcome = self._accumulate(gradients, takes_part, settings, flush, before)
        finally:
            gradients.release()
        if outcome is None:
            return None
        if capturing:
            self._recorded = takes_part, outcome.verdict
            return None
        if outcome.verdict.decided:
            outcome.settle()
        elif settings.loss_scaler is not None:
            settings.loss_scaler.wait_for(outcome.settle)
        return outcome

    def _accumulate(
        self,
        gradients: Gradients,
        takes_part: Sequence[bool] | None,
        settings: Settings,
        flush: bool,
        before: Callable[[], None] | None,
    ) -> Outcome | None:
        accumulation = self.accumulation
        count, added = accumulation.count + (not flush), None if flush else gradients
        if flush:
            sums = accumulation.sums_now()
        else:
            accumulation.choose(gradients, _stepping_now(gradients, takes_part))
            if count < settings.accumulation_steps:
                if before is not None:
                    before()
                accumulation.add(gradients)
                return None
            sums = accumulation.sums_then()
        dtypes = _stepping_now(sums, takes_part)
        outcome = self._update(self._work, sums, dtypes, settings, count, before, added)
        accumulation.restart()
        return outcome

    def _update(
        self,
        work: Work,
        gradients: Gradients,
        dtypes: Dtypes,
        settings: Settings,
        count: int,
        before: Callable[[], None] | None,
        added: Gradients | None = None,
    ) -> Outcome:
        """Update the parameters by the mean of ``count`` gradients whose sums these are, once those
        ``added`` are among them. ``before`` is called when everything that can raise has been
        computed."""
        scaler, coefficient = settings.loss_scaler, 1.0 / settings.grad_scale / count
        if scaler is not None:
            coefficient /= scaler.scale_for(id(self))
        verdict, measurement = settings.verdict, work.measurement_for(settings)
        if measurement is not None:
            measurement.choose(gradients, dtypes, coefficient)
        work.updates.choose(dtypes, self._rules_and_clocks)
        carries = self._set_rows(work.updates, coefficient)
        for bucket in work.updates:
            bucket.ready(gradients)

        samples: list[Any] = []
        if (lost := self._lost) is not None:
            lost.tell()
            if lost.done or not settings.warn_lost_updates:
                self._lost = None
            else:
                samples = lost.before(gradients, dtypes, self._clocks, self._hyper)
        put_back = None if added is None else self._add(added, work.updates)
        try:
            if measurement is not None:
                verdict = measurement.run(gradients, settings.clip_global_norm)
            is_taken = not verdict.decided or verdict.finite
            if is_taken:
                for bucket in work.updates:
                    if measurement is not None:
                        bucket.shrink_gradients(verdict.coefficient, gradients)
                    bucket.compute(gradients, verdict.control)
            if before is not None:
                before()
        except BaseException:
            if put_back is not None:
                put_back()
            raise
        tell = None if scaler is None else partial(scaler.take_note, id(self))
        outcome = Outcome(verdict, settings.clip_global_norm is not None, tell)
        if is_taken:
            outcome.carries = carries
            for bucket in work.updates:
                bucket.mark_changed()
                bucket.run(gradients, verdict.control)
            if self._totals.rules:
                outcome.share = self._totals.after_step(dtypes)
            if samples:
                lost.after(samples)  # type: ignore[union-attr]
        return outcome

    def _add(self, gradients: Gradients, updates: Launches) -> Callable[[], None] | None:
        """Add the last gradients of a window of micro-batches. Returns the function that takes them
        out again, where functions of whole matrices are still to come, which may fail; else
        None."""
        kept = any(bucket.computes for bucket in updates)
        put_back = self.accumulation.kept() if kept else None
        self.accumulation.add(gradients)
        return put_back

    def _rules_and_clocks(self, dtypes: Dtypes) -> tuple[Sequence[Rule], Sequence[Clock]]:
        split(self._clocks, [dtype is not None for dtype in dtypes])
        rules = {
            clock: clipped(clock.rule, self._hyper[clock.group].clips)
            for clock in dict.fromkeys(self._clocks)
        }
        return list(map(rules.__getitem__, self._clocks)), self._clocks

    def _set_rows(
        self, updates: Launches, coefficient: float
    ) -> list[tuple[Clock, dict[str, float]]]:
        """Compute the scalars of the next step. Returns each clock with its carry after the
        step."""
        carries: dict[int, tuple[Clock, dict[str, float]]] = {}
        for bucket in updates:
            rows = []
            for clock in bucket.keys:
                hyper = self._hyper[clock.group]
                numbers = hyper.numbers(clock.decays)
                row, carry = next_scalars(bucket.rule, clock.step, clock.carry, numbers)
                key = key_scalars(numbers.seed, clock.step + 1) if bucket.rule.stochastic else ()
                rows.append((*row.values(), *key, hyper.sign * coefficient))
                carries[id(clock)] = (clock, carry)
            bucket.set_rows(rows)
        return list(carries.values())

    def _work_on_rows(self, gradients: Gradients, dtypes: Dtypes, settings: Settings) -> Work:
        """The launches of a step in which some parameters have gradients of some rows only: these
        rows stand in the parameters' places. Raises TypeError for a rule that cannot go by rows."""
        if settings.accumulation_steps > 1 or self.micro_steps:
            raise TypeError(
                "gradients of some rows are not accumulated over micro-batches; give their indices "
                f"and values in one gradient{see('howto/sparse.md')}"
            )
        self._work.updates.forget()  # clocks may be others afterwards
        tensors = list(self._tensors)
        for i, where in gradients.rows.items():
            clock, tensor = self._clocks[i], self._tensors[i]
            hyper = self._hyper[clock.group]
            if dtypes[i] is not None:
                check_blocks(tensor.name, clock.rule, math.prod(tensor.shape[len(where) :]))
                numbers = hyper.numbers(clock.decays)
                row, _ = next_scalars(clock.rule, clock.step, clock.carry, numbers)
                whole_rows = len(where) == 1
                check_rule(tensor.name, clock.rule, hyper.clips, row, hyper.lazy, whole_rows)
            tensors[i] = tensor.some_rows(where, clock.rule.vectors)
        return Work(self._kept, tensors)

    # ---- work that is captured and replayed

    def _check_capture(self, settings: Settings) -> None:
        """Raise RuntimeError for what a replay could not do."""
        if rules := self._totals.rules:
            raise RuntimeError(
                f"a step by {rules[0]} cannot be captured: the scalars of its next step follow from sums "
                f"over all parameters, which the host reads between steps{see('cuda.md')}"
            )
        if settings.skips:
            raise RuntimeError(
                "a step that is left out where a gradient is not finite cannot be captured: "
                "whether it counts is decided between steps; capture without skip_nonfinite and "
                f"loss_scaler{see('cuda.md')}"
            )
        if settings.accumulation_steps > 1 or self.micro_steps:
            raise RuntimeError(
                "accumulation over micro-batches cannot be captured; capture with "
                f"accumulation_steps=1, after flush(){see('cuda.md')}"
            )

    def _check_ready(self, settings: Settings) -> None:
        """Raise RuntimeError if something would have to be allocated first."""
        clips, measurement = settings.clip_global_norm is not None, self._work.measurement
        measured = measurement is not None and measurement.norm
        if not list(self._work.updates) or (clips and not measured):
            raise RuntimeError(
                "a step must be taken before one is captured, with the same parameters and options"
                f"{see('cuda.md')}"
            )

    def prepare(self, takes_part: Sequence[bool] | None, settings: Settings) -> Outcome:
        """Hand the scalars of the next step to the work that was captured."""
        self._backend.check_arithmetic()
        self._check_capture(settings)
        if self._recorded is None or self._recorded[0] is not takes_part:
            raise RuntimeError(
                f"prepare: no step of these parameters and options was captured yet{see('cuda.md')}"
            )
        verdict, limit = self._recorded[1], settings.clip_global_norm
        if (verdict is NOT_MEASURED) != (limit is None):
            raise RuntimeError("prepare: clip_global_norm was switched on or off since the capture")
        outcome = Outcome(verdict, limit is not None)
        outcome.carries = self._set_rows(self._work.updates, 1.0)
        for bucket in self._work.updates:
            bucket.check_prepared()
        if limit is not None and self._work.measurement is not None:
            self._work.measurement.prepare(1.0, limit)
        for bucket in self._work.updates:
            bucket.prepare()
        outcome.settle()
        return outcome


def _stepping_now(gradients: Gradients, takes_part: Sequence[bool] | None) -> Dtypes:
    """Return the dtypes of the gradients of parameters that are not frozen."""
    if takes_part is None:
        return gradients.dtypes
    return [d if now else None for d, now in zip(gradients.dtypes, takes_part, strict=True)]
