"""Prints a rule as plain C99 that C++ takes, too: one function over raw pointers for one tensor,
on all threads if OpenMP is switched on.

The function that computes the scalars is printed too, from the rule's own ``scalars``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from ..language.passes import Step, reachable, statements
from ..language.summation import CHUNK, STRIP_ROWS
from ..language.tracer import Expr, trace_scalars
from .c_family import C_TYPE, CFamilyPrinter, function
from .c_names import field
from .kernel import Lines

API = "SAMESTEP_API"
PREAMBLE = """\
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Every operation is rounded once, as IEEE 754 has it; say so to the compiler. */
#if FLT_EVAL_METHOD < 0 || FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "needs exact IEEE arithmetic: no x87 (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "needs exact IEEE arithmetic: no -ffast-math nor a part of it"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif
#ifdef __cplusplus
#define RESTRICT __restrict
extern "C" {
#else
#define RESTRICT restrict
#endif
#if defined(__GNUC__) && defined(__GLIBC__) /* no errno: loops with a root become SIMD code */
extern SQRT __THROW __attribute__((__const__));
#endif
#ifndef SAMESTEP_API /* define it empty for functions that other files can call */
#define SAMESTEP_API static inline
#endif
#ifndef SAMESTEP_PARALLEL_FROM /* elements; less than that is done before another thread wakes */
#define SAMESTEP_PARALLEL_FROM 32768
#endif
"""
END = """
#undef RESTRICT
#ifdef __cplusplus
}
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
"""


class CPrinter(CFamilyPrinter):
    """Plain C99 for one tensor."""

    def source(self) -> str:
        return self.with_helpers(self.title() + self.preamble(), self.functions()) + END

    def preamble(self) -> str:
        """What stands before the first function."""
        root = "double sqrt(double)" if self.compute == "float64" else "float sqrtf(float)"
        return PREAMBLE.replace("SQRT", root)

    def functions(self) -> str:
        """The structures and functions of this variant of the rule."""
        parts = [self._structs(), *self.beginning(), self._scalars_function()]
        launches = self.program.launches or (("pass", 0),)  # a rule that changes nothing
        for kind, k in launches:
            parts.append(self._pass(k) if kind == "pass" else self._fold(k))
        if self.layout.reducing:
            parts += [self._workspace_size(), self._driver()]
        return "\n".join(parts)

    def beginning(self) -> Lines:
        """Functions for what stands before the first step."""
        return []

    def scalar(self, name: str) -> tuple[str, Lines]:
        local = self.new_name(name) if name != "grad_coefficient" else name
        return local, [f"const {self.real} {local} = s->{field(name)};"]

    def zero_lanes(self, name: str, lanes: int) -> Lines:
        zero = self.loop("lane", "width", [self.assign(f"{name}[lane]", "0")])
        return [f"{self.real} {name}[{lanes}];", *zero]

    def _structs(self) -> str:
        label = self.rule.label
        hyper = [
            f"{field(name)}[{len(value)}]" if isinstance(value, tuple) else field(name)
            for name, value in self.rule.defaults.items()
        ]
        text = _struct("double", hyper or ["none"], f"{label}_hyper")  # C has no empty structures
        if self.rule.carry:
            starts = ", ".join(f"{name} = {value:g}" for name, value in self.rule.carry.items())
            text += _struct(
                "double", map(field, self.rule.carry), f"{label}_carry", f"start at {starts}"
            )
        return (
            text + _struct(self.real, map(field, self.scalars), f"{label}_scalars")
        ).removesuffix("\n")

    def _scalars_function(self) -> str:
        """The rule's ``scalars``, in double, each result rounded once."""
        label = self.rule.label
        row, carry = trace_scalars(self.rule)
        carry = {name: expr for name, expr in carry.items() if expr.op != "input"}
        roots = tuple(row.items()) + tuple(carry.items())
        step = Step(nodes=tuple(reachable(e for _, e in roots)), loads=(), stores=roots)
        self.begin()
        compute, self.compute = self.compute, "float64"
        for node in step.nodes:
            if node.op == "input":
                self.text_of[id(node)] = _place(str(node.name))
        lines = self.assignments(statements(step), step)
        lines += [
            f"result.{field(name)} = ({C_TYPE[compute]})({self.text(e)});"
            for name, e in row.items()
        ]
        lines += [f"carry->{field(name)} = {self.text(e)};" for name, e in carry.items()]
        self.compute = compute
        arguments = ["double step", f"const {label}_hyper *h"]
        if self.rule.carry:
            arguments.insert(1, f"{label}_carry *carry")
        lines = [
            f"{label}_scalars result;",
            *lines,
            "result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */",
            "return result;",
        ]
        head = f"{API} {label}_scalars {label}_compute_scalars"
        about = "/* What is equal for all elements of a parameter; step counts from 1. */\n"
        return about + function(head, arguments, lines)

    def _array_parameters(self, names: Lines | tuple[str, ...]) -> Lines:
        return [
            f"{'const ' if name == 'grad' else ''}{C_TYPE[self.stored.get(name, self.compute)]} "
            f"*RESTRICT {self.arrays[name]}"
            for name in names
        ]

    def _pass(self, k: int) -> str:
        step = self.program.passes[k]
        self.begin()
        scalars = f"const {self.rule.label}_scalars *s"
        if not self.layout.reducing:
            arguments = [scalars, "int64_t n", *self._array_parameters(self.program.arrays)]
            return function(f"{API} void {self.rule.label}_update", arguments, self.pass_body(step))
        unit, length, columns = CHUNK, "n", ""
        if self.layout.matrix:
            unit, length, columns = STRIP_ROWS, "height", " * columns"
        lines = [self.let(length, self.smaller(f"size - index * {unit}", f"{unit}"), index=True)]
        lines += self._slots()
        lines += [f"{self.arrays[name]} += index * {unit}{columns};" for name in self._used(step)]
        arguments = [scalars, "int64_t index", *self._sizes("int64_t ")]
        arguments += [*self._array_parameters(self._used(step)), f"{self.real} *workspace"]
        name = f"static void {self.rule.label}_pass{k}"
        return function(name, arguments, lines + self.pass_body(step))

    def _flat_loops(self, step: Step, element: Lines) -> Lines:
        loops = super()._flat_loops(step, element)
        return loops if self.layout.reducing else [*_parallel("n", simd=True), *loops]

    def _sizes(self, kind: str = "") -> Lines:
        """The arguments that say how large a tensor is."""
        if not self.layout.reducing:
            return [f"{kind}n"]
        return [f"{kind}size", f"{kind}columns"] if self.layout.matrix else [f"{kind}size"]

    def _used(self, step: Step) -> Lines:
        return [a for a in self.program.arrays if a in step.loads or a in dict(step.stores)]

    def _fold(self, k: int) -> str:
        self.begin()
        arguments = [f"const {self.rule.label}_scalars *s", *self._sizes("int64_t ")]
        arguments += [*self._array_parameters(self.program.small), f"{self.real} *workspace"]
        lines = self._slots() + self.fold_body(self.program.folds[k])
        return function(f"static void {self.rule.label}_fold{k}", arguments, lines)

    def _slots(self) -> Lines:
        """Offsets into the workspace: each slot starts where the one before it ends."""
        lines, position = [self._chunks()], "0"
        for node in self.layout.slots:
            name = self.slot_name[id(node)]
            lines.append(self.let(name, position, index=True))
            position = f"{name} + {self._slot_size(node)}"
        return lines

    def _chunks(self) -> str:
        unit = STRIP_ROWS if self.layout.matrix else CHUNK
        return self.let("chunks", f"(size + {unit - 1}) / {unit}", index=True)

    def _slot_size(self, node: Expr) -> str:
        return self.layout.slot_size(node, "size", "columns", "chunks")

    def _workspace_size(self) -> str:
        sizes = " + ".join(self._slot_size(node) for node in self.layout.slots) or "0"
        return (
            f"/* How many numbers the workspace of {self.rule.label}_update holds. */\n"
            + function(
                f"{API} int64_t {self.rule.label}_workspace",
                self._sizes("int64_t "),
                [self._chunks(), f"return {sizes};"],
            )
        )

    def _driver(self) -> str:
        label = self.rule.label
        arguments = [f"const {label}_scalars *s", *self._sizes("int64_t ")]
        arguments += self._array_parameters((*self.program.arrays, *self.program.small))
        lines = [self._chunks()]
        sizes, elements = ", ".join(self._sizes()), " * ".join(self._sizes())
        for kind, k in self.program.launches:
            if kind == "fold":
                small = "".join(f"{self.arrays[name]}, " for name in self.program.small)
                lines.append(f"{label}_fold{k}(s, {sizes}, {small}workspace);")
            else:
                arrays = [self.arrays[a] for a in self._used(self.program.passes[k])]
                passed = ", ".join(["s", "index", sizes, *arrays, "workspace"])
                call = f"{label}_pass{k}({passed});"
                lines += [*_parallel(elements), *self.loop("index", "chunks", [call])]
        shape = "size rows by columns" if self.layout.matrix else "size elements"
        return f"/* One step of one tensor of {shape}. */\n" + function(
            f"{API} void {label}_update", [*arguments, f"{self.real} *workspace"], lines
        )


def _parallel(elements: str, *, simd: bool = False) -> Lines:
    """What spreads the loop behind it over threads. No bit depends on how many there are."""
    what, condition = ("for simd", "parallel : ") if simd else ("for", "")
    pragma = f"#pragma omp parallel {what} if ({condition}{elements} >= SAMESTEP_PARALLEL_FROM)"
    return ["#ifdef _OPENMP", pragma, "#endif"]


def _place(leaf: str) -> str:
    """A leaf of traced ``scalars`` (`samestep.language.tracer.trace_scalars`) in C."""
    structure, dot, member = leaf.partition(".")
    name, bracket, index = member.partition("[")
    return f"{structure}->{field(name)}{bracket}{index}" if dot else leaf


def _struct(kind: str, fields: Iterable[str], name: str, comment: str = "") -> str:
    indent = " " * 4
    body = textwrap.fill(
        f"{kind} {', '.join(fields)};", 98, initial_indent=indent, subsequent_indent=2 * indent
    )
    return f"typedef struct {{\n{body}\n}} {name};{f' /* {comment} */' if comment else ''}\n\n"
