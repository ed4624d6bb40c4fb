"""A backend of the tests: printed CUDA, compiled to PTX by NVRTC, executed by the interpreter."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import nvrtc
import ptx
from ptx_machine import Machine
from ptx_memory import GlobalMemory
from samestep.backend import Availability
from samestep.backends.cuda_printer import BLOCK, CudaPrinter
from samestep.backends.host import HostBackend, HostTensor
from samestep.backends.memory import address
from samestep.backends.table import LaunchTable
from samestep.dtypes import COMPUTE_DTYPE, numpy_dtype
from samestep.program import program

SHARERS = 2  # blocks of one chunk, where the kernel allows several


@functools.lru_cache(maxsize=64)
def kernels(source: str, architecture: str) -> dict[str, ptx.Kernel]:
    """The kernels of CUDA text, as PTX that was read."""
    return ptx.read(nvrtc.ptx(source, architecture))


class InterpretedLaunch:
    """Printed kernels and the table they run over; see `Launch`."""

    def __init__(self, rule: Any, param_dtype: str, grad_dtype: str, architecture: str) -> None:
        self.printer = CudaPrinter(program(rule), param_dtype, grad_dtype)
        self.kernels = kernels(self.printer.source(), architecture)
        self.machines: dict[Any, Machine] = {}
        self.compute = np.dtype(COMPUTE_DTYPE[param_dtype])
        self.itemsizes = {
            name: numpy_dtype(dtype).itemsize for name, dtype in self.printer.stored.items()
        }

    def bind(self, tensors: Sequence[HostTensor]) -> None:
        layout = self.printer.layout
        shapes = [t.rows_and_columns if layout.matrix else (t.flat.size, 1) for t in tensors]
        addresses: dict[str, Sequence[int]] = {"param": [address(t.flat) for t in tensors]}
        self.arrays = [t.flat for t in tensors]
        for name in self.printer.rule.state:
            addresses[name] = [address(t.state[name]) for t in tensors]
            self.arrays += [t.flat_state(name) for t in tensors]
        self.launch_table = LaunchTable(layout, shapes, addresses, self.itemsizes)
        self.workspace = np.zeros(self.launch_table.workspace_size, self.compute)

    def set_gradients(self, addresses: Any) -> None:
        self.launch_table.set_gradients(addresses)

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        self.launch_table.set_rows(row_of_tensor)

    def run(self, rows: Any, grads: Sequence[Any]) -> None:
        control = np.array([2.0, 0.0])
        coefficients = rows[:, -1].astype(np.float64) / control[0]
        tables = [self.launch_table.table, rows[:, :-1].copy(), coefficients, control]
        written = [*self.arrays]
        if self.printer.layout.reducing:
            self.workspace.fill(np.nan)  # what is read before it is written shows
            tables += [self.launch_table.tensors]
            written.append(self.workspace)
        arguments = [np.uint64(address(table)) for table in tables]
        if self.printer.layout.reducing:
            arguments.append(np.uint64(address(self.workspace)))
        read_only = [*(g for g in grads if g is not None), *tables]
        memory = [*written, *map(_read_only, read_only)]
        self.accesses = 0
        for name, kind, divisible in self.printer.functions():
            lines = self.launch_table.table if kind == "pass" else self.launch_table.tensors
            grid = len(lines), SHARERS if divisible else 1
            if len(lines):
                used = GlobalMemory(memory)
                if (name, grid) not in self.machines:
                    self.machines[name, grid] = Machine(self.kernels[name], grid, BLOCK)
                self.machines[name, grid].run(arguments, used)
                self.accesses += used.accesses


def _read_only(array: Any) -> Any:
    view = array.reshape(-1).view()
    view.flags.writeable = False
    return view


def lying_at(array: Any, offset: int) -> Any:
    """A copy of a contiguous array that begins ``offset`` elements behind a multiple of 64 bytes."""
    room = np.empty(array.nbytes + 64 + offset * array.itemsize, np.uint8)
    start = -address(room) % 64 + offset * array.itemsize
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class PtxBackend(HostBackend):
    """NumPy arrays, updated by interpreted PTX. State begins as far from a multiple of 16 bytes
    as its parameter does, in elements."""

    name = "ptx"
    architecture = "90"

    def new_state(self, tensor: HostTensor, rule: Any, hyper: dict[str, Any]) -> dict[str, Any]:
        offset = address(tensor.flat) % 16 // tensor.flat.itemsize
        state = super().new_state(tensor, rule, hyper)
        return {name: lying_at(array, offset) for name, array in state.items()}

    def launch(
        self, rule: Any, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> InterpretedLaunch:
        return InterpretedLaunch(rule, param_dtype, grad_dtype, self.architecture)


def availability() -> Availability:
    return Availability("ptx", True, "printed CUDA in an interpreter of PTX")


def get_backend() -> PtxBackend:
    return PtxBackend()
