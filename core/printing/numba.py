"""Prints a rule as a Python module of serial Numba kernels, one function per pass and fold.

The module needs only NumPy and Numba. Each function works on a range of lines of the launch
table and holds no lock, so ranges can run on as many threads as there are.
"""

from __future__ import annotations

import builtins
import keyword
import math
import textwrap

from ..language.passes import Step
from ..language.summation import CHUNK, LANES
from ..language.tracer import Expr
from .expressions import is_whole
from .kernel import KernelPrinter, Lines
from .numba_helpers import HEADER, HELPERS, NEEDED_BY


class NumbaPrinter(KernelPrinter):
    """Numba's syntax. ``functions`` are the names of passes and folds in launch order."""

    block = 128  # measured against 64, 256 and whole lanes, see docs/benchmark.md

    reserved = frozenset(
        {
            *keyword.kwlist,
            *dir(builtins),
            "np",
            "carray",
            "intrinsic",
            "njit",
            "types",
            "options",
            "pointer",
            "uint64",
            *("init", "launch", "run", "pool", "namespace", "checked", "rule_for"),  # of exports
        }
    )

    def source(self) -> str:
        """The text of the module."""
        body = self.kernels()
        columns = ["row of `rows` (negative: skip)", "rows" if self.layout.matrix else "length"]
        columns += [f"address of {name}" for name in self.program.arrays]
        if self.layout.reducing:
            columns += ["line of `tensors`", "index in its tensor"]
        header = HEADER.format(
            title=f"{self.rule.label}: fused update of {self.stored['param']} parameters"
            f" with {self.stored['grad']} gradients.",
            reference=_wrapped(self.rule.reference or "A rule of the user's own."),
            table=_wrapped("A line of `table` is a chunk: " + ", ".join(columns) + "."),
            scalars=_wrapped("A line of `rows` holds " + ", ".join(self.scalars) + "."),
            names=f"{self.compute}, uint64" if self.layout.reducing else self.compute,
        )
        return f"{header}{self.helpers_for(body)}\n\n{body}"

    def kernels(self) -> str:
        """The text of all passes and folds."""
        return "\n\n".join(
            self._pass(name, k) if kind == "pass" else self._fold(name, k)
            for name, kind, k in self.functions()
        )

    def helpers_for(self, body: str) -> str:
        """The text of the helper functions that ``body`` calls."""
        return "".join(
            "\n"
            + text.replace("LANES", str(LANES))
            .replace("CHUNK", str(CHUNK))
            .replace("{compute}", self.compute)
            for name, text in HELPERS.items()
            if any(f"{call}(" in body for call in NEEDED_BY.get(name, (name,)))
        )

    def functions(self) -> list[tuple[str, str, int]]:
        """Name, "pass" or "fold", and number of each printed function, in launch order."""
        return [
            (f"{self.rule.label}_{kind}{k}" if self.layout.reducing else self.entry, kind, k)
            for kind, k in self.program.launches
        ]

    # ---- syntax

    def loop(
        self, variable: str, count: str, body: Lines, *, step: int = 1, spread: bool = False
    ) -> Lines:
        bounds = count if step == 1 else f"0, {count}, {step}"
        return [f"for {variable} in range({bounds}):", *_indented(body)]

    def let(self, name: str, value: str, *, index: bool = False) -> str:
        return f"{name} = {value}"

    def assign(self, place: str, value: str) -> str:
        return f"{place} = {value}"

    def constant(self, value: float) -> str:
        text = f"{value:.0f}" if is_whole(value) else repr(value)
        return f"{self.compute}({text if math.isfinite(value) else f'np.{text}'})"

    def where(self, condition: str, a: str, b: str) -> str:
        return f"{a} if {condition} else {b}"

    def smaller(self, a: str, b: str) -> str:
        return f"min({a}, {b})"

    def scalar(self, name: str) -> tuple[str, Lines]:
        local = self.new_name(name) if name != "grad_coefficient" else name
        return local, [f"{local} = rows[row, {self.scalars.index(name)}]"]

    def vector(self, start: str, count: str) -> str:
        return f"total(workspace[{start} : {start} + {count}])"

    def subscript(self, value: str) -> str:
        return f"uint64({value})"  # a signed index is looked at, which keeps loops from SIMD

    def fold_strips(self, slot: str) -> str:
        return (
            f"fold_strips(workspace[{slot} : {slot} + chunks * columns].reshape(chunks, columns))"
        )

    def lane_loop(self, step: Step, first: str, most: int, left: str, body: Lines) -> Lines:
        lines = [f"count = min({most}, {left})"]
        lines += [f"fetch_ahead({self.arrays[array]}, {first}, count)" for array in step.loads]
        return lines + self.loop("lane", "count", body)

    def zero_lanes(self, name: str, lanes: int) -> Lines:
        self.lane_arrays[name] = lanes
        return [f"{name}[:width] = 0"]

    # ---- functions

    def _head(self, name: str) -> Lines:
        rows, tail = f"{self.compute}[:, ::1]", "int64, int64"
        if not self.layout.reducing:
            signature, arguments = f"int64[:, ::1], {rows}, {tail}", "table, rows, first, last"
        else:
            signature = f"int64[:, ::1], {rows}, int64[:, ::1], {self.compute}[::1], {tail}"
            arguments = "table, rows, tensors, workspace, first, last"
        return [f'@njit("void({signature})", **options)', f"def {name}({arguments}):"]

    def _pass(self, name: str, k: int) -> str:
        step = self.program.passes[k]
        self.begin()
        self.lane_arrays: dict[str, int] = {}
        length, count = ("height", "height * columns") if self.layout.matrix else ("n", "n")
        lines = [f"row, {length} = table[chunk, 0], table[chunk, 1]"]
        lines += ["if row < 0:", "    continue"]
        if self.layout.reducing:
            tensor, index = self.layout.tensor, self.layout.index
            lines.append(f"tensor, index = table[chunk, {tensor}], table[chunk, {index}]")
            lines.append("size, columns = tensors[tensor, 1], tensors[tensor, 2]")
        for array in self.program.arrays:
            if array in step.loads or array in dict(step.stores):
                address = f"table[chunk, {self.layout.array[array]}]"
                lines.append(self._view(array, address, count))
        lines += self._slots([*step.sums, *step.received])
        lines += self.pass_body(step)
        lanes = [
            f"{name} = np.empty({size}, {self.compute})" for name, size in self.lane_arrays.items()
        ]
        return _text(
            [
                *self._head(name),
                *_indented([*lanes, "for chunk in range(first, last):", *_indented(lines)]),
            ]
        )

    def _fold(self, name: str, k: int) -> str:
        step = self.program.folds[k]
        self.begin()
        lines = [
            "row, size = tensors[tensor, 0], tensors[tensor, 1]",
            "columns, chunks = tensors[tensor, 2], tensors[tensor, 3]",
            "if row < 0:",
            "    continue",
        ]
        for array in self.program.small:
            if array in step.loads or array in dict(step.stores):
                count = {"row": "size", "column": "columns", "tensor": "1"}[self.rule.per[array]]
                lines.append(
                    self._view(array, f"tensors[tensor, {self.layout.small[array]}]", count)
                )
        used = {id(n) for n in (*step.nodes, *step.finished)}
        lines += self._slots([n for n in self.layout.slots if id(n) in used])
        lines += self.fold_body(step)
        return _text(
            [
                *self._head(name),
                *_indented(["for tensor in range(first, last):", *_indented(lines)]),
            ]
        )

    def _view(self, array: str, address: str, count: str) -> str:
        dtype = self.stored.get(array, self.compute)
        bits = "uint16" if dtype in ("bfloat16", "float16") else dtype
        return f"{self.arrays[array]} = carray(pointer({address}, np.{bits}), {count})"

    def _slots(self, nodes: list[Expr] | tuple[Expr, ...]) -> Lines:
        return [
            f"{self.slot_name[id(n)]} = tensors[tensor, {self.layout.slot[id(n)]}]" for n in nodes
        ]


def _indented(lines: Lines) -> Lines:
    return [f"    {line}" for line in lines]


def _text(lines: Lines) -> str:
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 98)
