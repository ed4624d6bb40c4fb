"""The work of functions of whole matrices: on stacks of parameters of one shape, or, for rules with
square or thin states, on one parameter and these."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..language.blocks import THIN, WHOLE, blocks_of, thin_shape
from ..language.dtypes import COMPUTE_DTYPE
from ..language.rule import Rule
from ..language.stages import Call, stages
from ..protocol import Backend, Tensor

STACK = 1 << 20  # elements of the matrices that a function works on at once, if one has fewer


@dataclass(frozen=True)
class Stack:
    """The matrices of some ``tensors`` of one shape, one after the other in the memory of each of
    the ``arrays``, by its name."""

    backend: Backend
    tensors: tuple[int, ...]
    shape: tuple[int, int]
    arrays: Mapping[str, Any]

    def memory(self, call: Call) -> int:
        """Return how many elements a call needs besides."""
        assert call.function.memory is not None
        return call.function.memory(*self.shape) * min(len(self.tensors), at_once(self.shape))

    def run(
        self, call: Call, memory: Any, row_of_tensor: Sequence[int], numbers: Sequence[Any]
    ) -> None:
        """Call the function for those that have a row."""
        matrices = self.arrays[call.result]
        for where, row in self._parts(row_of_tensor):
            on_matrices(self.backend, call, matrices[where], memory, numbers[row])

    def _parts(self, row_of_tensor: Sequence[int]) -> Iterator[tuple[slice, int]]:
        """Yield slices of the stack that have one row, and fit into the memory together."""
        most, stop = at_once(self.shape), 0
        for row, group in itertools.groupby(map(row_of_tensor.__getitem__, self.tensors)):
            start, stop = stop, stop + len(list(group))
            if row >= 0:
                for first in range(start, stop, most):
                    yield slice(first, min(first + most, stop)), row

    def keep(self, row_of_tensor: Sequence[int]) -> None:
        """Do nothing: there are no states of whole matrices."""

    def store(self, row_of_tensor: Sequence[int]) -> None:
        """Do nothing, as `keep`."""


def at_once(shape: tuple[int, int]) -> int:
    """Return how many matrices of this shape a function works on together."""
    return max(STACK // math.prod(shape), 1)


def on_matrices(
    backend: Backend, call: Call, matrices: Any, memory: Any, numbers: Sequence[float]
) -> None:
    """Call a function of matrices alone, with products in the dtype that the text asks for."""
    function = call.function
    if call.dtype is None:
        backend.on_matrices(function.compute, matrices, memory, *numbers)
    else:
        assert function.memory is not None
        size = len(matrices) * function.memory(*matrices.shape[1:])
        backend.on_narrow_matrices(function.compute, call.dtype, matrices, size, *numbers)


class WithStates:
    """One tensor, the ``number``-th of a launch, with its square and thin states; ``arrays`` are as
    of a stack of this one matrix. A function that returns such a state writes it to memory of its
    own; `store` makes it the state, once all has gone well."""

    def __init__(
        self, backend: Backend, rule: Rule, number: int, tensor: Tensor, arrays: Mapping[str, Any]
    ) -> None:
        self._backend, self._number, self._arrays = backend, number, arrays
        self._blocks = blocks = blocks_of(tensor.shape)
        becomes = stages(rule).becomes.items()
        self._moved = {state: result for state, result in becomes if state != result}
        self._old: dict[str, Any] = {}  # states that become others, between `keep` and `store`
        self._states, compute = {}, COMPUTE_DTYPE[tensor.dtype]

        def zeros(shape: tuple[int, ...]) -> Any:
            return backend.zeros(math.prod(shape), compute).reshape(shape)

        def stack(per: str) -> tuple[int, ...]:
            if per in THIN:
                return 1, *thin_shape(tensor.shape, per, rule.rank)
            return blocks.stack(per)

        for name, per in rule.per.items():
            if per in WHOLE:
                self._states[name] = tensor.flat_state(name).reshape(stack(per))
        for call in stages(rule).calls:
            if call.per in WHOLE:
                self._states[call.result] = zeros(stack(call.per))
        in_blocks = any(call.function.in_blocks for call in stages(rule).calls)
        self._cut = zeros(blocks.stack("element")) if in_blocks and not blocks.exact else None

    def memory(self, call: Call) -> int:
        """Return how many elements a call needs besides."""
        assert call.function.memory is not None
        if call.function.in_blocks:
            return (
                call.function.memory(self._blocks.height, self._blocks.width) * self._blocks.count
            )
        return call.function.memory(self._blocks.rows, self._blocks.columns)

    def run(
        self, call: Call, memory: Any, row_of_tensor: Sequence[int], numbers: Sequence[Any]
    ) -> None:
        """Call the function if the tensor has a row."""
        row = row_of_tensor[self._number]
        if row < 0:
            return
        if call.function.of_states:
            self._backend.on_matrices(self._compute, call, memory, numbers[row])
        else:
            on_matrices(self._backend, call, self._arrays[call.result], memory, numbers[row])

    def _compute(self, matmul: Any, call: Call, memory: Any, numbers: Sequence[float]) -> None:
        function = call.function
        values = [self._value(name, function.in_blocks) for name in call.values]
        if not function.overwrites:
            values.append(self._value(call.result, False))
        if function.memory is not None:
            values.append(memory)
        keywords = {"library": self._backend.library} if function.decomposes else {}
        function.compute(matmul, *values, *numbers, **keywords)
        if function.overwrites and values[0] is self._cut:
            self._blocks.write(self._cut, self._arrays[call.result][0])

    def _value(self, name: str, in_blocks: bool) -> Any:
        """Return a state of whole matrices, or a matrix or its blocks."""
        if name in self._states:
            return self._states[name]
        if self._cut is None or not in_blocks:
            return self._arrays[name]
        self._blocks.read(self._arrays[name][0], self._cut)
        return self._cut

    def keep(self, row_of_tensor: Sequence[int]) -> None:
        """Copy the states that become others, if the tensor has a row: `store` takes no memory."""
        if row_of_tensor[self._number] >= 0:
            self._backend.on_matrices(self._keep)

    def _keep(self, matmul: Any) -> None:
        moved = self._moved
        self._old = {name: 1 * self._states[name] for name in moved.values() if name in moved}

    def store(self, row_of_tensor: Sequence[int]) -> None:
        """Make what functions returned the states, if the tensor has a row."""
        if row_of_tensor[self._number] >= 0:
            self._backend.on_matrices(self._store)

    def _store(self, matmul: Any) -> None:
        for state, result in self._moved.items():
            self._states[state][...] = self._old.get(result, self._states[result])
        self._old = {}
