"""Backends of the tests that launch printed CUDA on arrays in host memory, in one way or
another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from samestep.backends.gradients import CheckedGradients
from samestep.backends.host.backend import HostBackend
from samestep.backends.host.launch import HostLaunch
from samestep.backends.launching.table import LaunchTable
from samestep.backends.memory import address
from samestep.backends.tensor import AdoptedTensor
from samestep.language.dtypes import COMPUTE_DTYPE, numpy_dtype
from samestep.language.passes import program
from samestep.printing.cuda import Cuda
from samestep.printing.printer import Printer

SHARERS = 2  # blocks of one chunk, where the kernel allows several


class PrintedLaunch(HostLaunch):
    """Printed kernels and the tables they run over; see `Launch`. What executes them is said by
    `execute`."""

    target = Cuda

    def __init__(self, rule: Any, param_dtype: str, grad_dtype: str) -> None:
        super().__init__(param_dtype)
        self.printer = Printer(program(rule), param_dtype, grad_dtype, self.target)
        self.compute = np.dtype(COMPUTE_DTYPE[param_dtype])
        self.itemsizes = {
            name: numpy_dtype(dtype).itemsize for name, dtype in self.printer.stored.items()
        }

    def bind(self, tensors: Sequence[AdoptedTensor], positions: Sequence[int]) -> None:
        super().bind(tensors, positions)
        layout = self.printer.layout
        shapes = [t.rows_and_columns if layout.matrix else (t.flat.size, 1) for t in tensors]
        addresses: dict[str, Sequence[int]] = {"param": [address(t.flat) for t in tensors]}
        self.arrays = [t.flat for t in tensors]
        for name in self.printer.rule.arrays:
            addresses[name] = [address(t.state[name]) for t in tensors]
            self.arrays += [t.flat_state(name) for t in tensors]
        places = [tensor.position for tensor in tensors]
        self.launch_table = LaunchTable(layout, shapes, addresses, self.itemsizes, places)
        self.workspace = np.zeros(self.launch_table.workspace_size, self.compute)

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        self.launch_table.set_rows(row_of_tensor)

    def run(self, rows: Any, gradients: CheckedGradients, control: None) -> None:
        self.launch_table.set_gradients(gradients.addresses_at(self.positions))
        grads = [gradients.arrays[position] for position in self.positions]
        factor_and_skip = np.array([2.0, 0.0])
        coefficients = rows[:, -1].astype(np.float64) / factor_and_skip[0]
        arguments = [self.launch_table.table, rows[:, :-1].astype(self.compute)]
        arguments += [coefficients, factor_and_skip]
        written = [*self.arrays]
        only_read = [*arguments, *(g for g in grads if g is not None)]
        if self.printer.layout.reducing:
            self.workspace.fill(np.nan)  # what is read before it is written shows
            arguments += [self.launch_table.tensors, self.workspace]
            only_read.append(self.launch_table.tensors)
            written.append(self.workspace)
        launches = []
        for name, over, divisible in self.printer.functions():
            lines = len(getattr(self.launch_table, over))
            if lines:
                launches.append((name, (lines, SHARERS if divisible else 1)))
        self.execute(launches, arguments, written, only_read)

    def execute(
        self,
        launches: Sequence[tuple[str, tuple[int, int]]],
        arguments: Sequence[Any],
        written: Sequence[Any],
        only_read: Sequence[Any],
    ) -> None:
        """Launch kernels, by name and grid, one after the other. Each takes the addresses of
        ``arguments``; ``written`` and ``only_read`` are all arrays they may use."""
        raise NotImplementedError


def lying_at(array: Any, offset: int) -> Any:
    """A copy of a contiguous array that begins ``offset`` elements behind a multiple of 64
    bytes."""
    room = np.empty(array.nbytes + 64 + offset * array.itemsize, np.uint8)
    start = -address(room) % 64 + offset * array.itemsize
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class PrintedBackend(HostBackend):
    """NumPy arrays, updated by launches of the class ``launches``. State begins as far from a
    multiple of 16 bytes as its parameter does, in elements."""

    launches: type[PrintedLaunch]

    def new_state(self, tensor: AdoptedTensor, rule: Any, hyper: dict[str, Any]) -> dict[str, Any]:
        offset = address(tensor.flat) % 16 // tensor.flat.itemsize
        state = super().new_state(tensor, rule, hyper)
        return {name: lying_at(array, offset) for name, array in state.items()}

    def launch(
        self, rule: Any, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> PrintedLaunch:
        return self.launches(rule, param_dtype, grad_dtype)
