"""Runs a rule as printed C, compiled by gcc: an optimizer on one tensor with nothing of ours in it
but the printed text."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
from pathlib import Path

import numpy as np
import samestep as ss
from samestep.language.dtypes import COMPUTE_DTYPE
from samestep.language.hyperparameters import chosen_options
from samestep.language.passes import program
from samestep.printing.c import C, file
from samestep.printing.layout import Layout
from samestep.printing.printer import Printer

FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]
WRAPPER = """
void {label}_scalars_at(double step, double *carry, const double *h, {real} *out)
{{
    (void)carry;
    {label}_scalars result = {label}_compute_scalars(step, {carry}(const {label}_hyper *)h);
    memcpy(out, &result, sizeof result);
}}
"""


def compile_c(source: str, folder: Path, compiler: str = "gcc", flags: list[str] = FLAGS) -> Path:
    """A shared library of ``source``, or the one compiled before."""
    name = hashlib.sha256(f"{compiler}{flags}{source}".encode()).hexdigest()[:16]
    library = folder / f"{name}.so"
    if not library.exists():
        file = folder / f"{name}.c"
        file.write_text(source)
        done = subprocess.run(
            [compiler, *flags, "-DSAMESTEP_API=", "-shared", "-fPIC", file, "-o", library, "-lm"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stderr}\n{source}"
    return library


def wrapper(rule: ss.Rule, dtype: str) -> str:
    """A function that calls the printed ``scalars`` with arrays."""
    real = {"float32": "float", "float64": "double"}[COMPUTE_DTYPE[dtype]]
    carry = f"({rule.label}_carry *)carry, " if rule.carry else ""
    return WRAPPER.format(label=rule.label, real=real, carry=carry)


def compile_together(rules: list[ss.Rule], dtype: str, folder: Path) -> ctypes.CDLL:
    """One library of the printed C of several rules."""
    source = file([Printer(program(rule), dtype, dtype, C) for rule in rules], "")
    source += "".join(wrapper(rule, dtype) for rule in rules)
    return ctypes.CDLL(str(compile_c(source, folder)))


class COptimizer:
    """One parameter, updated in place by the printed C of a rule."""

    def __init__(self, rule, param, folder, *, maximize=False, emit=ss.emit, flags=FLAGS, library=None,
                 **hyper):  # fmt: skip
        self.rule = rule = ss.rules.registry[rule] if isinstance(rule, str) else rule
        self.hyper = rule.hyperparameters(hyper)
        rule = rule.variant(**chosen_options(rule, self.hyper))
        self.rule = rule = rule.for_shape(param.shape)
        dtype = param.dtype.name
        if library is None:
            source = emit(rule, "c", dtype) + wrapper(rule, dtype)
            library = ctypes.CDLL(str(compile_c(source, folder, flags=flags)))
        self.library = library
        self.program = program(rule)
        self.compute = np.dtype(COMPUTE_DTYPE[dtype])
        self.param, self.step_count, self.maximize = param, 0, maximize
        self.carry = np.array(list(rule.carry.values()) or [0.0])
        shapes = {"row": param.shape[:1], "column": param.shape[1:], "tensor": ()}
        self.state = {}
        for name in rule.state:
            start = rule.initial.get(name, 0.0)
            value = self.hyper[start] if isinstance(start, str) else start
            shape = shapes.get(rule.per.get(name), param.shape)
            self.state[name] = np.full(shape, value, self.compute)
        self.sizes = [param.size]
        if self.program.matrix:
            self.sizes = [param.shape[0], param.size // param.shape[0]]
        if Layout(self.program).reducing:
            numbers = self.library[f"{rule.label}_workspace"]
            numbers.restype = ctypes.c_int64
            self.workspace = np.zeros(numbers(*map(ctypes.c_int64, self.sizes)), self.compute)

    def step(self, grad):
        self.step_count += 1
        values = [self.hyper[name] for name in self.rule.defaults]
        hyper = np.concatenate([np.zeros(0), *(np.atleast_1d(np.float64(v)) for v in values)])
        scalars = np.zeros(len(self.program.scalars) + 1, self.compute)
        self.library[f"{self.rule.label}_scalars_at"](
            ctypes.c_double(self.step_count), _at(self.carry), _at(hyper), _at(scalars)
        )
        scalars[-1] = -1 if self.maximize else 1
        small = [self.state[name] for name in self.program.small]
        full = [self.state[name] for name in self.rule.state if name not in self.program.small]
        arrays = map(_at, (self.param, grad, *full, *small))
        update = self.library[f"{self.rule.label}_update"]
        if not Layout(self.program).reducing:
            update(_at(scalars), ctypes.c_int64(self.param.size), *arrays)
            return
        update(_at(scalars), *map(ctypes.c_int64, self.sizes), *arrays, _at(self.workspace))


def _at(array):
    return ctypes.c_void_p(array.ctypes.data)
