"""One update of all tensors by a rule that calls functions of whole matrices.

Each of its stages is a launch of the backend; between two of them run the functions
(`samestep.step.matrix_work`). The arrays that they overwrite belong to the launch: one more of the
parameter's size, in the compute dtype, for each array of the rule's stages and of its functions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..language.dtypes import COMPUTE_DTYPE
from ..language.rule import Rule
from ..language.scalars import scalar_names
from ..language.stages import Call, stages
from ..pages import see
from ..protocol import Backend, Launch, Tensor
from .matrix_work import Stack, WithStates
from .turn_launch import launch_of_text


def launch_of(backend: Backend, rule: Rule, dtype: str, grad_dtype: str) -> Launch:
    """Return a new launch of this rule, in stages where it has several."""
    if stages(rule).calls:
        return StagedLaunch(backend, rule, dtype, grad_dtype)
    return launch_of_text(backend, rule, scalar_names(rule), dtype, grad_dtype)


class StagedLaunch:
    """The launches of all stages, and what runs between them; see `Launch`."""

    def __init__(self, backend: Backend, rule: Rule, dtype: str, grad_dtype: str) -> None:
        self._backend, self._compute = backend, COMPUTE_DTYPE[dtype]
        self._rule, self._stages, self._names = rule, stages(rule), scalar_names(rule)
        *before, last = self._stages.rules  # which alone writes what the rule keeps
        self._launches = [backend.launch(each, self._names, dtype, grad_dtype) for each in before]
        self._launches.append(launch_of_text(backend, last, self._names, dtype, grad_dtype))
        self.rows_dtype = self._launches[0].rows_dtype

    def bind(self, tensors: Sequence[Tensor], positions: Sequence[int]) -> None:
        """Make the arrays that functions overwrite, those of one shape next to each other."""
        shapes = [tensor.rows_and_columns for tensor in tensors]
        arrays: list[dict[str, Any]] = [{} for _ in tensors]
        by_shape = sorted(range(len(tensors)), key=shapes.__getitem__)
        self._work: list[Stack | WithStates] = []
        for shape, group in itertools.groupby(by_shape, shapes.__getitem__):
            members, size, stacks = tuple(group), math.prod(shape), {}
            for name in (*self._stages.arrays, *self._stages.made):
                memory = self._backend.zeros(len(members) * size, self._compute)
                stacks[name] = memory.reshape(len(members), *shape)
                for k, i in enumerate(members):
                    arrays[i][name] = memory[k * size : (k + 1) * size]
            if size:
                self._work += self._work_on(members, shape, stacks, tensors)
        staged = [t.with_state({**t.state, **own}) for t, own in zip(tensors, arrays, strict=True)]
        for launch in self._launches:
            launch.bind(staged, positions)
        calls = [c for c in self._stages.calls if c.function.memory is not None and c.dtype is None]
        most = max((work.memory(call) for work in self._work for call in calls), default=0)
        self._memory = self._backend.zeros(most, self._compute)

    def _work_on(
        self,
        members: tuple[int, ...],
        shape: tuple[int, int],
        stacks: Mapping[str, Any],
        tensors: Sequence[Tensor],
    ) -> list[Stack] | list[WithStates]:
        """Return what calls functions for the tensors of one shape."""
        backend, rule = self._backend, self._rule
        if not self._stages.becomes:
            return [Stack(backend, members, shape, stacks)]
        return [
            WithStates(backend, rule, i, tensors[i], {n: a[k : k + 1] for n, a in stacks.items()})
            for k, i in enumerate(members)
        ]

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Say which row of scalars applies to each tensor."""
        self._row_of_tensor = row_of_tensor
        for launch in self._launches:
            launch.set_rows(row_of_tensor)

    def ready(self, rows: Any, gradients: Any) -> None:
        """Take what the launches need. Raise RuntimeError where a step with square or thin states
        is captured: the host decides at each step what becomes of them."""
        capturing = self._backend.capturing()
        if self._stages.becomes and capturing:
            raise RuntimeError(
                f"a step of {self._rule.name} cannot be captured: what becomes of its states of whole "
                f"matrices is decided on the host; take it as it is{see('cuda.md')}"
            )
        for launch in self._launches:
            launch.ready(rows, gradients)
        if capturing:
            self._captured = self._numbers(rows)

    def compute(self, rows: Any, gradients: Any, control: Any) -> None:
        """Run all stages but the last one, and the functions, which may fail: a library finds no
        memory, or no eigenvalues. Nothing has changed then."""
        self._left_out = (
            bool(self._stages.becomes) and control is not None and self._backend.leaves_out(control)
        )
        if self._left_out:
            return
        for k, launch in enumerate(self._launches):
            if launch is not self._launches[-1]:
                launch.run(rows, gradients, control)
            for call in self._stages.calls:
                if call.after == k:
                    self._call(call, rows)
        for work in self._work:
            work.keep(self._row_of_tensor)

    def run(self, rows: Any, gradients: Any, control: Any) -> None:
        """Update parameters and states by what was computed."""
        if self._left_out:
            return
        self._launches[-1].run(rows, gradients, control)
        for work in self._work:
            work.store(self._row_of_tensor)

    def _call(self, call: Call, rows: Any) -> None:
        numbers = self._numbers_of(call, rows)
        for work in self._work:
            work.run(call, self._memory, self._row_of_tensor, numbers)

    def _numbers_of(self, call: Call, rows: Any) -> list[list[float]]:
        columns = [self._names.index(name) for name in call.scalars]
        found: list[list[float]] = rows[:, columns].astype(self._compute).tolist()
        return found

    def _numbers(self, rows: Any) -> list[list[list[float]]]:
        return [self._numbers_of(call, rows) for call in self._stages.calls]

    def check_prepared(self, rows: Any) -> None:
        """Raise RuntimeError for other numbers of matrix functions than those that were captured:
        the host hands them to a library."""
        if self._numbers(rows) != self._captured:
            raise RuntimeError(
                f"prepare: a hyperparameter that a matrix function of {self._rule.name} takes has changed "
                f"since the capture, such as ns_steps: capture the step again{see('cuda.md')}"
            )

    def prepare(self, rows: Any) -> None:
        """Hand the next rows to recorded work."""
        for launch in self._launches:
            launch.prepare(rows)
