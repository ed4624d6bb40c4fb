"""One update of all tensors: a kernel launch per pass, over one table on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.dtypes import COMPUTE_DTYPE, numpy_dtype
from ...language.passes import program
from ...language.rule import Rule
from ...language.summation import CHUNK
from ...pages import see
from ...printing.cuda import BLOCK, Cuda, CudaOfTiles
from ...printing.printer import Printer
from ..gradients import CheckedGradients
from ..launching.table import LaunchTable
from ..tensor import AdoptedTensor
from . import compiler, driver
from .device import Device, entered
from .staging import Upload

PART = 8 * BLOCK  # elements of a chunk that are worth a block of their own
BLOCKS_PER_PROCESSOR = 8  # as many of them as a multiprocessor holds
GO_AHEAD = (1.0, 0.0)  # the control of a step that nothing was measured for


class CudaLaunch:
    """Compiled kernels and the tables they run over; see `Launch`.

    What the kernels read is in buffers that stay where they are: captured launches can be
    replayed after `prepare` has refilled the rows. ``control`` of a verdict is an address.
    """

    rows_dtype = "float64"

    def __init__(self, device: Device, rule: Rule, param_dtype: str, grad_dtype: str) -> None:
        self.device = device
        self._dtypes = param_dtype, grad_dtype
        self.printer = Printer(program(rule), *self._dtypes, Cuda)
        self.label = f"{rule.label}_{param_dtype}_{grad_dtype}"
        self.compute = np.dtype(COMPUTE_DTYPE[param_dtype])
        self.itemsizes = {
            name: numpy_dtype(dtype).itemsize for name, dtype in self.printer.stored.items()
        }
        self._gradients: CheckedGradients | None = None
        self._addresses: NDArray[np.int64] | None = None
        self._rows: Upload | None = None
        self._sent: NDArray[np.float64] | None = None  # the rows that are there

    def bind(self, tensors: Sequence[AdoptedTensor], positions: Sequence[int]) -> None:
        """Make the tables, and compile what is not compiled yet."""
        self._positions, self._gradients, self._addresses = positions, None, None
        layout = self.printer.layout
        shapes = [t.rows_and_columns if layout.matrix else (t.size, 1) for t in tensors]
        for tensor, (size, _) in zip(tensors, shapes, strict=True):
            if size > CHUNK**3 and not layout.matrix:
                raise ValueError(f"{tensor.name} has {size} elements; kernels add up to {CHUNK**3}")
        found = self.device.addresses
        addresses = {"param": found([t.flat for t in tensors]).tolist()}
        for name in self.printer.rule.arrays:
            addresses[name] = found([t.state[name] for t in tensors]).tolist()
        places = [tensor.position for tensor in tensors]
        self.lines = LaunchTable(layout, shapes, addresses, self.itemsizes, places)
        target = CudaOfTiles if layout.matrix and self.lines.one_chunk_each else Cuda
        printer = Printer(self.printer.program, *self._dtypes, target)
        functions = printer.functions()
        with entered(self.device):
            names = [launch.name for launch in functions]
            kernels = compiler.functions(self.label, printer.source(), names, self.device.number)
            self._table = Upload(self.device, self.lines.table.nbytes)
            self._tensors = Upload(self.device, self.lines.tensors.nbytes)
            self._workspace = self.device.empty(self.lines.workspace_size, self.compute.name)
            self._go_ahead = Upload(self.device, 8 * len(GO_AHEAD))
            self._go_ahead.send(np.array(GO_AHEAD))
            parts = self._parts()
        of_sums = []
        if layout.reducing:
            of_sums = [self._tensors.address, *found([self._workspace]).tolist()]
        self._arguments = driver.Arguments(self._table.address, 0, 0, 0, *of_sums)
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
        processors = driver.processors(self.device.number)
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
        if self._rows is None or self._rows.nbytes != nbytes:
            self._sent = None
            with entered(self.device):
                self._rows = Upload(self.device, nbytes)
        coefficients = self._rows.address
        self._arguments.values[1:3] = coefficients + 8 * count, coefficients

    def prepare(self, rows: NDArray[np.float64]) -> None:
        """Send the next step's rows to where the kernels read them."""
        with entered(self.device):
            self._send(rows)

    def _send(self, rows: NDArray[np.float64]) -> None:
        assert self._rows is not None
        if rows is self._sent:  # gradients that are measured again
            return
        self._sent = rows
        with np.errstate(over="ignore"):  # may be infinite in the compute dtype
            self._rows.send(rows[:, -1], rows[:, :-1].astype(self.compute))

    def ready(self, rows: NDArray[np.float64], gradients: CheckedGradients) -> None:
        """Write the gradients' addresses into the table."""
        self._point_at(gradients)

    def run(self, rows: NDArray[np.float64], gradients: CheckedGradients, control: Any) -> None:
        """Launch the kernels on the current stream."""
        with entered(self.device):
            stream = self.device.stream()
            if not driver.capturing(stream):
                self._refresh()
                self._send(rows)
            elif self._stale:
                raise RuntimeError(
                    "a captured step must be like the step before it: take one, with gradients "
                    f"in the same arrays, and then capture{see('cuda.md')}"
                )
            go_ahead = self._go_ahead.address if control is None else control
            self._arguments.values[3] = go_ahead
            for kernel, grid in self._kernels:
                driver.launch(kernel, grid, BLOCK, self._arguments, stream)

    def _refresh(self) -> None:
        if self._stale:
            self._table.send(self.lines.table)
            self._tensors.send(self.lines.tensors)
            self._stale = False
