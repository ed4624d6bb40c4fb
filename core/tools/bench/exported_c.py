"""An exported C file, compiled here, as a contender of the benchmark."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...language.passes import program
from ...printing.export import export
from ...rules import find_rule
from .moved import bytes_by_program
from .timing import Array, Arrays, Contender

COMPILER = "gcc"
FLAGS = ("-std=c99", "-O3", "-march=native", "-ffp-contract=off", "-fopenmp")
SCALARS_INTO = """
void scalars_into(double step, const {rule}_hyper *h, {rule}_scalars *s)
{{
    *s = {rule}_compute_scalars(step, h);
}}
"""


class ExportedC(Contender):
    """The exported functions of an elementwise rule without carry, tensor by tensor."""

    def __init__(
        self, rule: str, hyper: Mapping[str, Any], params: Arrays, sets: Sequence[Arrays]
    ) -> None:
        super().__init__(params, sets)
        self.rule, self.steps = find_rule(rule), 0
        given = self.rule.hyperparameters(hyper)
        numbers = [np.atleast_1d(np.float64(given[name])) for name in self.rule.defaults]
        self.hyper = np.concatenate(numbers)
        self.scalars = np.zeros(len(program(self.rule).scalars) + 1, np.float32)
        self.state = [[np.zeros_like(p) for _ in self.rule.state] for p in params]
        library = ctypes.CDLL(str(compiled(rule)))
        self.compute, self.update = library.scalars_into, library[f"{rule}_update"]
        self.compute.argtypes = [ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p]

    def give(self, k: int) -> None:
        self.calls = [
            [ctypes.c_int64(param.size), *(_pointer(a) for a in (param, grad, *state))]
            for param, grad, state in zip(self.params, self.sets[k], self.state, strict=True)
        ]

    def step(self) -> None:
        self.steps += 1
        self.compute(self.steps, self.hyper.ctypes.data, self.scalars.ctypes.data)
        scalars = _pointer(self.scalars)
        for call in self.calls:
            self.update(scalars, *call)

    def count_bytes(self) -> int:
        return bytes_by_program(self.rule, self.params)


@functools.cache
def compiled(rule: str) -> Path:
    """Compile the exported file of a rule and return the shared library.

    Raises CalledProcessError if it does not compile.
    """
    folder = Path(tempfile.mkdtemp(prefix="samestep-"))
    source, library = folder / f"{rule}.c", folder / f"{rule}.so"
    source.write_text(export(rule, "c") + SCALARS_INTO.format(rule=rule), encoding="utf-8")
    options = [*FLAGS, "-DSAMESTEP_API=", "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run([COMPILER, *options, "-lm"], check=True, capture_output=True)
    return library


def _pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
