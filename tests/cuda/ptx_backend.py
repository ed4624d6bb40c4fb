"""A backend of the tests: printed CUDA, compiled to PTX by NVRTC, executed by the interpreter."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import nvrtc
import ptx
from printed_backend import PrintedBackend, PrintedLaunch
from ptx_machine import Machine
from ptx_memory import GlobalMemory
from samestep.backends.memory import address
from samestep.printing.cuda import BLOCK
from samestep.protocol import Availability


@functools.lru_cache(maxsize=64)
def kernels(source: str, architecture: str) -> dict[str, ptx.Kernel]:
    """The kernels of CUDA text, as PTX that was read."""
    return ptx.read(nvrtc.ptx(source, architecture))


class InterpretedLaunch(PrintedLaunch):
    """Printed kernels as PTX for ``architecture``."""

    architecture = "90"

    def __init__(self, rule: Any, param_dtype: str, grad_dtype: str) -> None:
        super().__init__(rule, param_dtype, grad_dtype)
        self.kernels = kernels(self.printer.source(), self.architecture)
        self.machines: dict[Any, Machine] = {}

    def execute(
        self,
        launches: Sequence[tuple[str, tuple[int, int]]],
        arguments: Sequence[Any],
        written: Sequence[Any],
        only_read: Sequence[Any],
    ) -> None:
        for name, grid in launches:
            if (name, grid) not in self.machines:
                self.machines[name, grid] = Machine(self.kernels[name], grid, BLOCK)
            accesses(self.machines[name, grid], arguments, written, only_read)


def accesses(
    machine: Machine, arguments: Sequence[Any], written: Sequence[Any], only_read: Sequence[Any]
) -> int:
    """Launch one kernel; see `PrintedLaunch.execute`. How many accesses its threads asked for."""
    memory = GlobalMemory([*written, *map(_read_only, only_read)])
    machine.run([np.uint64(address(array)) for array in arguments], memory)
    return memory.accesses


def _read_only(array: Any) -> Any:
    view = array.reshape(-1).view()
    view.flags.writeable = False
    return view


class PtxBackend(PrintedBackend):
    """NumPy arrays, updated by interpreted PTX."""

    name = "ptx"
    launches = InterpretedLaunch


def availability() -> Availability:
    return Availability("ptx", True, "printed CUDA in an interpreter of PTX")


def get_backend() -> PtxBackend:
    return PtxBackend()
