"""A backend of the tests: printed CUDA compiled by g++ as it is, the threads of a block taking
turns in an order that can be chosen."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from printed_backend import PrintedBackend, PrintedLaunch
from samestep.backends.memory import address
from samestep.printing.cuda import BLOCK
from samestep.protocol import Availability


def _part_of_the_double(name: str) -> ModuleType:
    """A module of the double of CuPy by itself: the double must not become ``cupy`` here."""
    file = Path(__file__).parent.parent / "cuda_double" / "cupy" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(f"double{name}", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


host = _part_of_the_double("_host")


class OrderedLaunch(PrintedLaunch):
    """Printed kernels, changed by ``broken`` before they are compiled; threads take turns in the
    order ``host.ORDER``."""

    def __init__(self, rule: Any, param_dtype: str, grad_dtype: str) -> None:
        super().__init__(rule, param_dtype, grad_dtype)
        self.library = host.Library(host.build(self.broken(self.printer.source())))

    @staticmethod
    def broken(source: str) -> str:
        return source

    def execute(
        self,
        launches: Sequence[tuple[str, tuple[int, int]]],
        arguments: Sequence[Any],
        written: Sequence[Any],
        only_read: Sequence[Any],
    ) -> None:
        pointers = np.array([address(array) for array in arguments], np.uint64)
        cells = [pointers.ctypes.data + 8 * i for i in range(len(arguments))]
        for name, grid in launches:
            self.library.run(name, (*grid, 1), (BLOCK, 1, 1), cells)


class OrderedBackend(PrintedBackend):
    """NumPy arrays, updated by printed CUDA on the CPU."""

    name = "ordered"
    launches = OrderedLaunch


def availability() -> Availability:
    return Availability("ordered", True, "printed CUDA on the CPU")


def get_backend() -> OrderedBackend:
    return OrderedBackend()
