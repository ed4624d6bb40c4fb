"""Printer of a rule as a Python module of serial Numba kernels, one function per pass and fold.

The module needs only NumPy and Numba. Each function works on a range of lines of the launch
table and holds no lock, so ranges can run on as many threads as there are.
"""

from __future__ import annotations

import builtins
import keyword
import math
import textwrap
from collections.abc import Iterable, Sequence

from ..language.tracer import Expr
from .expressions import is_whole
from .folds import fold_body
from .printer import Printer
from .target import Lines, Target, indented
from .templates import read

TEXTS = read("numba_kernels.py.txt")
HEAD, POINTER = TEXTS.pop("head"), TEXTS.pop("pointer")
# what compiled readers of memory begin with, and one that reads where many arrays keep their data
READING = f"{TEXTS.pop('reading')}{POINTER}{TEXTS.pop('word')}"
ADDRESSES = (
    '"""Reads a field of many objects by their addresses: where arrays keep their data."""\n'
    f"{READING}{TEXTS.pop('addresses')}"
)


class Numba(Target):
    """The syntax of Python that Numba compiles."""

    reserved = frozenset(
        {
            *keyword.kwlist, *dir(builtins),
            "np", "carray", "intrinsic", "njit", "types", "options", "pointer", "uint64",
            "init", "launch", "run", "pool", "namespace", "checked", "rule_for",  # of exports
        }
    )  # fmt: skip
    helpers = TEXTS
    needed_by = {  # noqa: RUF012
        "bfloat16": ("from_bfloat16", "to_bfloat16"),
        "float16": ("from_float16", "to_float16"),
        "fold": ("fold", "total"),
        "lanes_for": ("lanes_for", "total"),
    }
    block = 128  # measured against 64, 256 and whole lanes, see docs/benchmark.md
    fetches_ahead = True

    def loop(self, variable: str, count: str, body: Lines, first: str, step: str) -> Lines:
        bounds = count if step == "1" else f"{first}, {count}, {step}"
        return [f"for {variable} in range({bounds}):", *indented(body)]

    def zero_lanes(self, name: str, lanes: int) -> Lines:
        return [f"{name}[:width] = 0"]

    def constant(self, value: float) -> str:
        text = f"{value:.0f}" if is_whole(value) else repr(value)
        return self.as_value(text if math.isfinite(value) else f"np.{text}")

    def where(self, condition: str, a: str, b: str) -> str:
        return f"{a} if {condition} else {b}"

    def smaller(self, a: str, b: str) -> str:
        return f"min({a}, {b})"

    def as_value(self, count: str) -> str:
        return f"{self.compute}({count})"

    def scalar(self, name: str, scalars: Sequence[str]) -> str:
        return f"rows[row, {scalars.index(name)}]"

    def part(self, start: str, count: str) -> Lines:
        return [f"workspace[{start} : {start} + {count}]"]

    def strips(self, start: str) -> Lines:
        return [f"workspace[{start} : {start} + chunks * columns].reshape(chunks, columns)"]

    def subscript(self, value: str) -> str:
        return f"uint64({value})"  # a signed index is looked at, which keeps loops from SIMD

    def source(self, printer: Printer) -> str:
        body, layout, stored = kernels(printer), printer.layout, printer.stored
        columns = ["row of `rows` (negative: skip)", "rows" if layout.matrix else "length"]
        columns += [f"address of {name}" for name in printer.program.arrays]
        if layout.reducing:
            columns += ["line of `tensors`", "index in its tensor"]
        header = HEAD.format(
            title=f"{printer.rule.label}: fused update of {stored['param']} parameters"
            f" with {stored['grad']} gradients.",
            reference=textwrap.fill(printer.rule.reference or "A rule of the user's own.", 98),
            table=textwrap.fill(f"A line of `table` is a chunk: {', '.join(columns)}.", 98),
            scalars=textwrap.fill(f"A line of `rows` holds {', '.join(printer.scalars)}.", 98),
            names=f"{self.compute}, uint64" if layout.reducing else self.compute,
        )
        return f"{header}{POINTER}{self.helper_texts(printer.called)}\n\n{body}"


def kernels(printer: Printer) -> str:
    """Return the text of all passes and folds."""
    return "\n\n".join(
        _pass(printer, k) if kind == "pass" else _fold(printer, k)
        for kind, k in printer.program.launches
    )


def _pass(p: Printer, k: int) -> str:
    step, layout = p.program.passes[k], p.layout
    p.begin()
    length, count = ("height", "height * columns") if layout.matrix else ("n", "n")
    lines = [f"row, {length} = table[chunk, 0], table[chunk, 1]", "if row < 0:", "    continue"]
    if layout.reducing:
        lines += [
            f"tensor, index = table[chunk, {layout.tensor}], table[chunk, {layout.index}]",
            "size, columns = tensors[tensor, 1], tensors[tensor, 2]",
        ]
    for name in p.touched(step):
        lines.append(_view(p, name, f"table[chunk, {layout.array[name]}]", count))
    lines += [*_slots(p, [*step.sums, *step.received]), *p.pass_body(step)]
    lanes = [f"{name} = np.empty({size}, {p.compute})" for name, size in p.lanes.items()]
    loop = ["for chunk in range(first, last):", *indented(lines)]
    return _function(p, p.name_of("pass", k), [*lanes, *loop])


def _fold(p: Printer, k: int) -> str:
    step, layout = p.program.folds[k], p.layout
    p.begin()
    lines = [
        "row, size = tensors[tensor, 0], tensors[tensor, 1]",
        "columns, chunks = tensors[tensor, 2], tensors[tensor, 3]",
        "if row < 0:",
        "    continue",
    ]
    counts = {"row": "size", "column": "columns", "tensor": "1"}
    for name, column in layout.small.items():
        if name in step.loads or name in dict(step.stores):
            lines.append(_view(p, name, f"tensors[tensor, {column}]", counts[p.rule.per[name]]))
    used = {id(n) for n in (*step.nodes, *step.finished)}
    lines += _slots(p, [n for n in layout.slots if id(n) in used])
    loop = ["for tensor in range(first, last):", *indented([*lines, *fold_body(p, step)])]
    return _function(p, p.name_of("fold", k), loop)


def _function(p: Printer, name: str, lines: Lines) -> str:
    table, tensors, arguments = f"int64[:, ::1], {p.compute}[:, ::1], ", "", "table, rows, "
    if p.layout.reducing:
        tensors = f"int64[:, ::1], {p.compute}[::1], "
        arguments += "tensors, workspace, "
    head = [
        f'@njit("void({table}{tensors}int64, int64)", **options)',
        f"def {name}({arguments}first, last):",
    ]
    return "\n".join([*head, *indented(lines)]) + "\n"


def _view(p: Printer, array: str, address: str, count: str) -> str:
    dtype = p.stored.get(array, p.compute)
    bits = "uint16" if dtype in ("bfloat16", "float16") else dtype
    return f"{p.arrays[array]} = carray(pointer({address}, np.{bits}), {count})"


def _slots(p: Printer, nodes: Iterable[Expr]) -> Lines:
    return [f"{p.slot_name[id(n)]} = tensors[tensor, {p.layout.slot[id(n)]}]" for n in nodes]
