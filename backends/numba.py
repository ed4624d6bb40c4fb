"""Compiled CPU kernels: one fused launch for all tensors, on all cores.

The rule is printed as serial kernels (`samestep.printing.numba`), compiled once per variant and
storage dtypes, and run on ranges of one launch table by a small thread pool.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..identities import identities
from ..install_command import install_command
from ..language.dtypes import numpy_dtype
from ..language.passes import program
from ..language.rule import Rule
from ..printing.numba import ADDRESSES, Numba
from ..printing.printer import Printer
from ..protocol import Availability, too_old
from .gradients import CheckedGradients
from .host.arrays import ARRAYS, HostArrays
from .host.backend import HostBackend
from .host.launch import HostLaunch
from .launching import source_cache
from .launching.arithmetic import check_caller, refuse_worker
from .launching.pool import Pool, get_pool, thread_count, worker_fault
from .launching.table import LaunchTable
from .memory import STRUCT_IS_READABLE, address
from .tensor import AdoptedTensor, SomeRows
from .torch_tensors.compiled_reader import source
from .torch_tensors.reader import Reader, reader_for

SMALL_WORK = 1 << 15  # elements; less than that is done before another thread has woken up
LARGE_WORK = 1 << 24  # elements; what a range has at most
RANGES_PER_THREAD = 4  # of tensors, in what stands between two passes

OLDEST = (0, 61)
UPDATE = "update it with: pip install --upgrade numba"


def availability() -> Availability:
    """Say whether the backend can run here, and what to install if not."""
    if importlib.util.find_spec("numba") is None:
        remedy = f"install it with: {install_command('numba')}"
        return Availability("numba", False, "Numba is not installed", remedy)
    if refused := _refused():
        return Availability("numba", False, *refused)
    return Availability("numba", True, f"compiled CPU kernels on {thread_count()} threads")


@functools.cache
def _refused() -> tuple[str, str] | None:
    """Return what is wrong with the Numba that is installed, and what to do about it."""
    from importlib import metadata  # slow to import

    version = metadata.version("numba")
    if reason := too_old("Numba", version, OLDEST):
        return reason, UPDATE
    for needed in metadata.requires("numba") or ():  # it cannot be imported beside a newer NumPy
        limit = re.match(r"numpy\b.*<(\d+\.\d+)", needed)
        if limit and np.lib.NumpyVersion(np.__version__) >= f"{limit[1]}.0":
            reason = (
                f"Numba {version} takes NumPy older than {limit[1]}, and NumPy is {np.__version__}"
            )
            return reason, f"{UPDATE}, or pip install 'numpy<{limit[1]}'"
    return None


class NumbaLaunch(HostLaunch):
    """Printed kernels and the table they run over."""

    pool: Pool | None  # the threads of the next run, where it takes more than one

    def __init__(self, rule: Rule, param_dtype: str, grad_dtype: str) -> None:
        super().__init__(param_dtype)
        self.printer = Printer(program(rule), param_dtype, grad_dtype, Numba)
        label = f"{rule.label}_{param_dtype}"
        label += "" if grad_dtype == param_dtype else f"_{grad_dtype}"
        module = source_cache.load(label, self.printer.source())
        functions = self.printer.functions()
        self.kernels = [(getattr(module, each.name), each.over) for each in functions]
        self.itemsizes = {
            name: numpy_dtype(dtype).itemsize for name, dtype in self.printer.stored.items()
        }

    def bind(self, tensors: Sequence[AdoptedTensor], positions: Sequence[int]) -> None:
        """Make the launch table."""
        super().bind(tensors, positions)
        self._gradients: CheckedGradients | None = None  # those in the table
        layout = self.printer.layout
        matrix = layout.matrix
        shapes = [t.rows_and_columns if matrix else (t.size, 1) for t in tensors]
        owners, rows = list(tensors), {}
        for i, tensor in enumerate(tensors):
            if not isinstance(tensor, SomeRows) or layout.reducing or tensor.whole.staged:
                continue
            if len(tensor.where) == 1:  # rows, not elements: they are updated where they lie
                tensor.staged = False
                owners[i], (rows[i],) = tensor.whole, tensor.where
        addresses: dict[str, Sequence[int]] = {"param": [address(t.flat) for t in owners]}
        for name in self.printer.rule.arrays:
            addresses[name] = [address(t.flat_state(name)) for t in owners]
        places = [tensor.position for tensor in tensors]
        self.launch_table = LaunchTable(layout, shapes, addresses, self.itemsizes, places, rows)
        self.workspace = np.zeros(self.launch_table.workspace_size, self.rows_dtype)
        self._cut(thread_count())

    def _cut(self, threads: int) -> None:
        self.threads = threads
        self.small = self.launch_table.elements < 2 * SMALL_WORK
        self.cuts = self.launch_table.ranges(threads, SMALL_WORK, LARGE_WORK)
        tensors = len(self.launch_table.tensors)
        step = max(-(-tensors // (threads * RANGES_PER_THREAD)), 64)
        self.tensor_cuts = [*range(0, tensors, step), tensors]

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Write the rows of scalars that apply into the table."""
        self.launch_table.set_rows(row_of_tensor)

    def ready(self, rows: NDArray[Any], gradients: CheckedGradients) -> None:
        """Write the gradients' addresses into the table, and have threads started."""
        if gradients is not self._gradients:
            self._gradients = None
            self.launch_table.set_gradients(gradients.addresses_at(self.positions))
            self._gradients = gradients
        if self.small:
            self.pool = None
            return
        if self.threads != (threads := thread_count()):
            self._cut(threads)
        self.pool = None if threads == 1 else get_pool()

    def run(self, rows: NDArray[Any], gradients: CheckedGradients, control: None) -> None:
        """Run the kernels on ranges of the table."""
        args: tuple[Any, ...] = (self.launch_table.table, rows)
        if self.printer.layout.reducing:
            args = (*args, self.launch_table.tensors, self.workspace)
        for kernel, over in self.kernels:
            cuts = self.cuts if over == "table" else self.tensor_cuts
            if self.pool is None or len(cuts) <= 2:
                kernel(*args, 0, cuts[-1])
            else:
                self.pool.run(kernel, args, cuts)


class CompiledArrays(HostArrays):
    """NumPy arrays, whose addresses compiled code reads in their structs."""

    def addresses(self, arrays: list[Any]) -> NDArray[np.int64]:
        """Return where the data of each array begins."""
        ids = np.frombuffer(identities(arrays), np.int64)
        found = np.empty(len(ids), np.int64)
        _compiled("addresses", ADDRESSES).read_pointers(ids, object.__basicsize__, found)
        return found


_compiled = functools.cache(source_cache.load)


class NumbaBackend(HostBackend):
    """NumPy arrays, updated by compiled kernels on all cores."""

    name = "numba"
    arrays = CompiledArrays() if STRUCT_IS_READABLE else ARRAYS

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> NumbaLaunch:
        return NumbaLaunch(rule, param_dtype, grad_dtype)

    def reader(self, tensors: Sequence[Any]) -> Reader:
        return reader_for(tensors, lambda where: _compiled("tensors", source(where)))

    def check_arithmetic(self) -> None:
        check_caller()
        if found := worker_fault():
            refuse_worker(found)


def get_backend() -> NumbaBackend:
    """Return the backend."""
    return NumbaBackend()
