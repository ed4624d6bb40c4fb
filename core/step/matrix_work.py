"""The work of functions of whole matrices: on stacks of parameters of one shape, or, for rules with
square states, on one parameter and its squares."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..language.blocks import PAIRS, blocks_of
from ..language.dtypes import COMPUTE_DTYPE
from ..language.rule import Rule
from ..language.stages import Call, stages
from ..protocol import Backend, Tensor

STACK = 1 << 20  # elements of the matrices that a function works on at once, if one has fewer


@dataclass(frozen=True)
class Stack:
    """The matrices of some ``tensors`` of one shape, one after the other in the memory of each of the
    ``arrays``, by its name."""

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

    def store(self, row_of_tensor: Sequence[int]) -> None:
        """Do nothing: there are no squares."""


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


class WithSquares:
    """One tensor, the ``number``-th of a launch, with its square states; ``arrays`` are as of a stack of
    this one matrix. A function that returns a square writes it to memory of its own; `store` makes it
    the state, once all has gone well."""

    def __init__(
        self, backend: Backend, rule: Rule, number: int, tensor: Tensor, arrays: Mapping[str, Any]
    ) -> None:
        self._backend, self._number, self._arrays = backend, number, arrays
        self._blocks = blocks = blocks_of(tensor.shape)
        self._becomes = stages(rule).squares
        self._squares, compute = {}, COMPUTE_DTYPE[tensor.dtype]

        def zeros(shape: tuple[int, ...]) -> Any:
            return backend.zeros(math.prod(shape), compute).reshape(shape)

        for name, per in rule.per.items():
            if per in PAIRS:
                self._squares[name] = tensor.flat_state(name).reshape(blocks.stack(per))
        for call in stages(rule).calls:
            if call.per in PAIRS:
                self._squares[call.result] = zeros(blocks.stack(call.per))
        self._cut = None if blocks.exact else zeros(blocks.stack("element"))

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
        if call.function.in_blocks:
            self._backend.on_matrices(self._compute, call, memory, numbers[row])
        else:
            on_matrices(self._backend, call, self._arrays[call.result], memory, numbers[row])

    def _compute(self, matmul: Any, call: Call, memory: Any, numbers: Sequence[float]) -> None:
        function = call.function
        values = [self._value(name) for name in call.values]
        if call.per in PAIRS:
            values.append(self._squares[call.result])
        if function.memory is not None:
            values.append(memory)
        keywords = {"library": self._backend.library} if function.decomposes else {}
        function.compute(matmul, *values, *numbers, **keywords)
        if call.per == "element" and values[0] is self._cut:
            self._blocks.write(self._cut, self._arrays[call.result][0])

    def _value(self, name: str) -> Any:
        """Return a square, or the blocks of a matrix."""
        if name in self._squares:
            return self._squares[name]
        if self._cut is None:
            return self._arrays[name]
        self._blocks.read(self._arrays[name][0], self._cut)
        return self._cut

    def store(self, row_of_tensor: Sequence[int]) -> None:
        """Make the new squares the states, if the tensor has a row."""
        if row_of_tensor[self._number] >= 0:
            self._backend.on_matrices(self._store)

    def _store(self, matmul: Any) -> None:
        moved = {state: result for state, result in self._becomes.items() if state != result}
        old = {name: 1 * self._squares[name] for name in moved.values() if name in moved}
        for state, result in moved.items():
            self._squares[state][...] = old.get(result, self._squares[result])
