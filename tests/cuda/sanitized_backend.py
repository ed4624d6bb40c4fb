"""Backends of the tests: printed CUDA compiled by g++ as it is, run on the CPU under a sanitizer,
one process a step."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from printed_backend import PrintedBackend, PrintedLaunch
from samestep.backends.memory import address
from samestep.printing.cuda import BLOCK
from samestep.protocol import Availability

HERE = Path(__file__).parent
FLAGS = ["-std=c++20", "-O1", "-g", "-ffp-contract=off", "-fno-strict-aliasing", "-pthread",
         "-DHOST_EACH=thread_local", "-include", str(HERE.parent / "cuda_double" / "host_shim.h"),
         "-fno-sanitize-recover=all", "-x", "c++", "-"]  # fmt: skip


class SanitizedLaunch(PrintedLaunch):
    """Printed kernels, changed by ``broken`` before they are compiled with ``sanitizers``."""

    sanitizers = "address,undefined"
    folder = Path()  # for programs

    @staticmethod
    def broken(source: str) -> str:
        return source

    def __init__(self, rule: Any, param_dtype: str, grad_dtype: str) -> None:
        super().__init__(rule, param_dtype, grad_dtype)
        self.names = [launch.name for launch in self.printer.functions()]
        listed = "#define KERNELS " + " ".join(f"X({name})" for name in self.names)
        source = self.broken(self.printer.source())
        main = (HERE / "sanitized_main.cpp").read_text()
        self.program = self.folder / f"{self.printer.rule.label}_{param_dtype}"
        subprocess.run(
            ["g++", f"-fsanitize={self.sanitizers}", *FLAGS, "-o", str(self.program)],
            input=f"{source}\n{listed}\n{main}",
            text=True,
            check=True,
        )

    def execute(
        self,
        launches: Sequence[tuple[str, tuple[int, int]]],
        arguments: Sequence[Any],
        written: Sequence[Any],
        only_read: Sequence[Any],
    ) -> None:
        arrays = [*written, *only_read]
        where = {id(array): k for k, array in enumerate(arrays)}
        words: list[Any] = [len(arrays)]
        for array in arrays:
            words += [address(array) % 16, array.nbytes, array.tobytes()]
        relocations = [
            [where[id(table)], *place]
            for table, columns in self._addresses()
            if id(table) in where
            for place in _pointers(table, columns, arrays)
        ]
        words += [len(relocations), *(number for place in relocations for number in place)]
        words.append(len(launches))
        for name, (columns, rows) in launches:
            words += [self.names.index(name), columns, rows, BLOCK, len(arguments)]
            words += [where[id(array)] for array in arguments]
        sent = b"".join(w if isinstance(w, bytes) else np.int64(w).tobytes() for w in words)
        done = subprocess.run([str(self.program)], input=sent, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        came, at = done.stdout, 0
        for array in arrays:
            if any(array is each for each in written):
                array[...] = np.frombuffer(came, array.dtype, array.size, at)
            at += array.nbytes
        assert at == len(came)

    def _addresses(self) -> list[tuple[Any, list[int]]]:
        """The tables and which of their columns hold addresses."""
        layout = self.printer.layout
        return [
            (self.launch_table.table, list(layout.array.values())),
            (self.launch_table.tensors, list(layout.small.values())),
        ]


def _pointers(table: Any, columns: list[int], arrays: Sequence[Any]) -> list[list[int]]:
    """Where in a table addresses stand, and what they point to: array and offset, in bytes."""
    found = []
    for line in range(len(table)):
        for column in columns:
            pointer = int(table[line, column])
            for k, array in enumerate(arrays):
                offset = pointer - address(array)
                if 0 <= offset < array.nbytes:
                    found.append([line * table.strides[0] + column * 8, k, offset])
    return found


class SanitizedBackend(PrintedBackend):
    """NumPy arrays, updated under a sanitizer."""

    name = "sanitized"
    launches = SanitizedLaunch


def availability() -> Availability:
    return Availability("sanitized", True, "printed CUDA on the CPU, watched")


def get_backend() -> SanitizedBackend:
    return SanitizedBackend()
