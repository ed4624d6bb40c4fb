"""One update of all tensors by a rule that calls functions of whole matrices.

Each of its stages is a launch of the backend; between two of them runs the function, on stacks of
matrices of one shape. The arrays that it overwrites belong to the launch: one more of the
parameter's size, in the compute dtype, for each call in the rule's text.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..language.dtypes import COMPUTE_DTYPE
from ..language.rule import Rule
from ..language.scalars import scalar_names
from ..language.stages import Call, stages
from ..protocol import Backend, Launch, Tensor

STACK = 1 << 20  # elements of the matrices that a function works on at once, if one has fewer


def launch_of(backend: Backend, rule: Rule, dtype: str, grad_dtype: str) -> Launch:
    """Return a new launch of this rule, in stages where it has several."""
    if stages(rule).calls:
        return StagedLaunch(backend, rule, dtype, grad_dtype)
    return backend.launch(rule, scalar_names(rule), dtype, grad_dtype)


@dataclass(frozen=True)
class Stack:
    """The matrices of some ``tensors`` of one shape, one after the other in the memory of each call."""

    tensors: tuple[int, ...]
    shape: tuple[int, int]
    of_call: tuple[Any, ...]


class StagedLaunch:
    """The launches of all stages, and what runs between them; see `Launch`."""

    def __init__(self, backend: Backend, rule: Rule, dtype: str, grad_dtype: str) -> None:
        self._backend, self._compute = backend, COMPUTE_DTYPE[dtype]
        self._calls, self._names = stages(rule).calls, scalar_names(rule)
        self._launches = [
            backend.launch(stage, self._names, dtype, grad_dtype) for stage in stages(rule).rules
        ]
        self.rows_dtype = self._launches[0].rows_dtype

    def bind(self, tensors: Sequence[Tensor], positions: Sequence[int]) -> None:
        """Make the arrays that functions overwrite, those of one shape next to each other."""
        shapes = [tensor.rows_and_columns for tensor in tensors]
        arrays: list[dict[str, Any]] = [{} for _ in tensors]
        by_shape = sorted(range(len(tensors)), key=shapes.__getitem__)
        self._stacks = []
        for shape, group in itertools.groupby(by_shape, shapes.__getitem__):
            members, size = tuple(group), math.prod(shape)
            of_call = []
            for call in self._calls:
                memory = self._backend.zeros(len(members) * size, self._compute)
                of_call.append(memory.reshape(len(members), *shape))
                for k, i in enumerate(members):
                    arrays[i][call.array] = memory[k * size : (k + 1) * size]
            if size:
                self._stacks.append(Stack(members, shape, tuple(of_call)))
        staged = [t.with_state({**t.state, **own}) for t, own in zip(tensors, arrays, strict=True)]
        for launch in self._launches:
            launch.bind(staged, positions)
        self._memory = self._backend.zeros(self._most_memory(), self._compute)

    def _most_memory(self) -> int:
        """Return how many elements functions need besides at most."""
        return max(
            (
                call.function.memory(*stack.shape) * min(len(stack.tensors), at_once(stack.shape))
                for stack in self._stacks
                for call in self._calls
                if call.dtype is None
            ),
            default=0,
        )

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Say which row of scalars applies to each tensor."""
        self._row_of_tensor = row_of_tensor
        for launch in self._launches:
            launch.set_rows(row_of_tensor)

    def ready(self, rows: Any, gradients: Any) -> None:
        """Take what the launches need."""
        for launch in self._launches:
            launch.ready(rows, gradients)

    def run(self, rows: Any, gradients: Any, control: Any) -> None:
        """Run the stages, and the functions between them. Nothing has changed before the last stage."""
        first, *others = self._launches
        first.run(rows, gradients, control)
        for k, launch in enumerate(others):
            self._call(k, self._calls[k], rows)
            launch.run(rows, gradients, control)

    def _call(self, k: int, call: Call, rows: Any) -> None:
        columns = [self._names.index(name) for name in call.scalars]
        numbers = rows[:, columns].astype(self._compute).tolist()
        for stack in self._stacks:
            for where, row in self._parts(stack):
                matrices = stack.of_call[k][where]
                compute, given = call.function.compute, numbers[row]
                if call.dtype is None:
                    self._backend.on_matrices(compute, matrices, self._memory, *given)
                else:
                    size = len(matrices) * call.function.memory(*stack.shape)
                    self._backend.on_narrow_matrices(compute, call.dtype, matrices, size, *given)

    def _parts(self, stack: Stack) -> Iterator[tuple[slice, int]]:
        """Yield slices of a stack that have one row, and fit into the memory together."""
        most, stop = at_once(stack.shape), 0
        for row, group in itertools.groupby(map(self._row_of_tensor.__getitem__, stack.tensors)):
            start, stop = stop, stop + len(list(group))
            if row >= 0:
                for first in range(start, stop, most):
                    yield slice(first, min(first + most, stop)), row

    def prepare(self, rows: Any) -> None:
        """Hand the next rows to recorded work."""
        for launch in self._launches:
            launch.prepare(rows)


def at_once(shape: tuple[int, int]) -> int:
    """Return how many matrices of this shape a function works on together."""
    return max(STACK // math.prod(shape), 1)
