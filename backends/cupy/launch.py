"""One update of all tensors: a kernel launch per pass, over one table on the device."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from ...language.dtypes import COMPUTE_DTYPE, numpy_dtype
from ...language.passes import program
from ...language.rule import Rule
from ...language.summation import CHUNK
from ...printing.cuda import BLOCK, Cuda
from ...printing.printer import Printer
from ..gradients import CheckedGradients
from ..launching.table import LaunchTable
from . import compiler
from .arrays import DeviceTensor
from .staging import Upload

PART = 8 * BLOCK  # elements of a chunk that are worth a block of their own
BLOCKS_PER_PROCESSOR = 8  # as many of them as a multiprocessor holds
GO_AHEAD = (1.0, 0.0)  # the control of a step that nothing was measured for


@functools.cache
def _processors(device: int) -> int:
    return int(cupy.cuda.runtime.getDeviceProperties(device)["multiProcessorCount"])


class CupyLaunch:
    """Compiled kernels and the tables they run over; see `Launch`.

    What the kernels read is in buffers that stay where they are: captured launches can be
    replayed after `prepare` has refilled the rows.
    """

    rows_dtype = "float64"

    def __init__(self, rule: Rule, param_dtype: str, grad_dtype: str) -> None:
        self.printer = Printer(program(rule), param_dtype, grad_dtype, Cuda)
        self.label = f"{rule.label}_{param_dtype}_{grad_dtype}"
        self.compute = np.dtype(COMPUTE_DTYPE[param_dtype])
        self.itemsizes = {
            name: numpy_dtype(dtype).itemsize for name, dtype in self.printer.stored.items()
        }
        self._gradients: CheckedGradients | None = None
        self._addresses: NDArray[np.int64] | None = None
        self._rows: Upload | None = None

    def bind(self, tensors: Sequence[DeviceTensor], positions: Sequence[int]) -> None:
        """Make the tables, and compile what is not compiled yet."""
        self._positions, self._gradients, self._addresses = positions, None, None
        layout = self.printer.layout
        shapes = [t.rows_and_columns if layout.matrix else (t.flat.size, 1) for t in tensors]
        for tensor, (size, _) in zip(tensors, shapes, strict=True):
            if size > CHUNK**3 and not layout.matrix:
                raise ValueError(f"{tensor.name} has {size} elements; kernels add up to {CHUNK**3}")
        addresses: dict[str, Sequence[int]] = {"param": [t.flat.data.ptr for t in tensors]}
        for name in self.printer.rule.state:
            addresses[name] = [t.state[name].data.ptr for t in tensors]
        self.lines = LaunchTable(layout, shapes, addresses, self.itemsizes)
        self.device = tensors[0].flat.device
        functions = self.printer.functions()
        with self.device:
            kernels = compiler.functions(
                self.label, self.printer.source(), [launch.name for launch in functions]
            )
            self._table = Upload(self.lines.table.nbytes)
            self._tensors = Upload(self.lines.tensors.nbytes)
            self._workspace = cupy.empty(self.lines.workspace_size, self.compute)
            self._go_ahead = cupy.asarray(np.array(GO_AHEAD))
            parts = self._parts()
        lines = {"table": len(self.lines.table), "tensors": len(self.lines.tensors)}
        self._kernels = [
            (kernel, (lines[over], parts if divisible else 1))
            for kernel, (_, over, divisible) in zip(kernels, functions, strict=True)
            if lines[over]
        ]
        self._stale = True

    def _parts(self) -> int:
        """Return how many blocks share a chunk where they can: enough to keep the device busy with
        few chunks, no more than have something to do."""
        table = self.lines.table
        if not len(table):
            return 1
        processors = _processors(self.device.id)
        wanted = -(-BLOCKS_PER_PROCESSOR * processors // len(table))
        useful = -(-int(self.lines.elements_of_chunk.max()) // PART)
        return max(1, min(wanted, useful))

    def _point_at(self, gradients: CheckedGradients) -> None:
        """Write the gradients' addresses into the table, if they are others than last time."""
        if gradients is not self._gradients:
            self._gradients, addresses = gradients, gradients.addresses_at(self._positions)
            if self._addresses is None or not np.array_equal(addresses, self._addresses):
                self._addresses = np.array(addresses)
                self.lines.set_gradients(addresses)
                self._stale = True

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        self.lines.set_rows(row_of_tensor)
        self._stale = True
        count = max(row_of_tensor) + 1
        nbytes = count * (8 + len(self.printer.program.scalars) * self.compute.itemsize)
        if self._rows is None or self._rows.device.size != nbytes:
            with self.device:
                self._rows = Upload(nbytes)
            coefficients, scalars = self._rows.address(), self._rows.address(8 * count)
            self._arguments = (self._table.device, scalars, coefficients)

    def prepare(self, rows: NDArray[np.float64]) -> None:
        """Send the next step's rows to where the kernels read them."""
        assert self._rows is not None
        with self.device, np.errstate(over="ignore"):  # may be infinite in the compute dtype
            self._rows.send(rows[:, -1], rows[:, :-1].astype(self.compute))

    def run(self, rows: NDArray[np.float64], gradients: CheckedGradients, control: Any) -> None:
        """Launch the kernels on the current stream."""
        self._point_at(gradients)
        with self.device:
            if not cupy.cuda.get_current_stream().is_capturing():
                self._refresh()
                self.prepare(rows)
            elif self._stale:
                raise RuntimeError(
                    "a captured step must be like the step before it: take one, with gradients "
                    "in the same arrays, and then capture"
                )
            arguments: tuple[Any, ...] = (
                *self._arguments,
                self._go_ahead if control is None else control,
            )
            if self.printer.layout.reducing:
                arguments = (*arguments, self._tensors.device, self._workspace)
            for kernel, grid in self._kernels:
                kernel(grid, (BLOCK,), arguments)

    def _refresh(self) -> None:
        if self._stale:
            self._table.send(self.lines.table)
            self._tensors.send(self.lines.tensors)
            self._stale = False
