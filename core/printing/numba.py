"""Printer of a rule as a Python module of serial Numba kernels, one function per pass and fold.

The module needs only NumPy and Numba. Each function works on a range of lines of the launch
table and holds no lock, so ranges can run on as many threads as there are.
"""

from __future__ import annotations

import builtins
import keyword
import math
import textwrap
from collections.abc import Sequence

import numpy as np

from ..language.blockwise import Blockwise
from ..language.passes import Step
from .expressions import is_whole
from .folds import fold_body
from .maps import STORES, map_texts
from .printer import Printer
from .quoting import in_docstring
from .shares import share_loops
from .target import Lines, Target, indented
from .templates import read
from .tiles import tile_loops

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
    helpers = map_texts("NAME = np.array([", "", "], np.float32)") | TEXTS
    needed_by = {  # noqa: RUF012
        "finite_or_zero": ("finite_or_zero", "cube_root"),
        "added": (
            "from_bfloat16",
            "to_bfloat16",
            "from_float16",
            "to_float16",
            "upper_half",
            "from_halves",
            "round_to_bfloat16",
            "round_to_float16",
        ),
        "bfloat16": ("from_bfloat16", "to_bfloat16"),
        "float16": ("from_float16", "to_float16"),
        "philox": ("random_of", "fill_random", "random_sign"),
        "random_of": ("random_of", "random_sign"),
        "scale_of_values": STORES,
        "fold": ("fold", "total", "sum_as_row"),
        "fold_four": ("fold_chunk",),
        "lanes_for": ("lanes_for", "total", "sum_as_row"),
        "add_lines": ("add_lines", "sum_as_row"),
    }
    quotient = " // "
    block = 128  # measured against 64, 256 and whole lanes, see docs/benchmark.md
    fetches_ahead = True

    def loop(self, variable: str, count: str, body: Lines, first: str, step: str) -> Lines:
        bounds = f"{first}, {count}, {step}".removesuffix(", 1")
        bounds = count if bounds == f"0, {count}" else bounds
        return [f"for {variable} in range({bounds}):", *indented(body)]

    def when(self, condition: str, body: Lines) -> Lines:
        return [f"if {condition}:", *indented(body)]

    def buffer(self, printer: Printer, name: str, size: int) -> Lines:
        printer.buffers[name] = size
        return []

    def zero_lanes(self, name: str, lanes: int) -> Lines:
        return [f"{name}[:width] = 0"]

    def room(self, printer: Printer, name: str, count: int) -> Lines:
        printer.lanes[name] = count
        return []

    def codes(self, printer: Printer, name: str, count: int) -> Lines:
        printer.codes[name] = count
        return []

    def packed(self, codes: str, start: str) -> Lines:
        return [codes, start]

    def block_arguments(
        self,
        values: str,
        codes: str,
        scales: str,
        codec: Blockwise,
        code: str,
        part: str,
        room: str | None = None,
    ) -> Lines:
        count, start = "count", "start"
        if part:
            values, count = f"{values}[{part}:]", self.smaller(str(codec.size), f"count - {part}")
            start = f"start + {part}"
        place = [codes, start] if room is None else [room, part or "0"]
        block = [start, str(codec.size)]
        return [values, count, *place, scales, *block, code, f"np.uint32({codec.mask:#x})"]

    def fold_chunk(self, printer: Printer, lanes: str) -> str:
        return printer.helper("fold_chunk", lanes)

    def tile_loops(self, printer: Printer, step: Step, per_row: Lines, element: Lines) -> Lines:
        return tile_loops(printer, step, per_row, element)

    def share_loops(self, printer: Printer, step: Step, per_row: Lines, element: Lines) -> Lines:
        return share_loops(printer, step, per_row, element)

    def constant(self, value: float) -> str:
        text = f"{value:.0f}" if is_whole(value) else repr(value)
        return self.as_value(text if math.isfinite(value) else f"np.{text}")

    def where(self, condition: str, a: str, b: str) -> str:
        return f"{a} if {condition} else {b}"

    def smaller(self, a: str, b: str) -> str:
        return f"min({a}, {b})"

    def as_value(self, count: str) -> str:
        return f"{self.compute}({count})"

    def as_integer(self, value: str) -> str:
        return f"int({value})"

    def scalar(self, name: str, scalars: Sequence[str]) -> str:
        return f"rows[row, {scalars.index(name)}]"

    def part(self, start: str, count: str) -> Lines:
        return [f"workspace[{start} : {start} + {count}]"]

    def behind(self, start: str) -> str:
        return f"workspace[{start}:]"

    def lines(self, start: str, count: str, width: str) -> Lines:
        return [f"workspace[{start} : {start} + {count} * {width}].reshape({count}, {width})"]

    def subscript(self, value: str) -> str:
        return f"uint64({value})"  # a signed index is looked at, which keeps loops from SIMD

    def source(self, printer: Printer) -> str:
        body, layout, stored = kernels(printer), printer.layout, printer.stored
        columns = ["row of `rows` (negative: skip)", "rows" if layout.matrix else "length"]
        columns += [f"address of {name}" for name in printer.program.arrays]
        if layout.reducing:
            columns += ["line of `tensors`"]
            columns += ["first row", "first column"] if layout.matrix else ["index in its tensor"]
        if layout.rounds:
            columns += ["position of the parameter"]
            columns += [] if layout.matrix else ["index of the first element"]
        unit = "tile" if layout.matrix else "chunk"
        header = HEAD.format(
            title=f"{printer.rule.label}: fused update of {stored['param']} parameters"
            f" with {stored['grad']} gradients.{printer.codecs}",
            reference=in_docstring(
                textwrap.fill(printer.rule.reference or "A rule of the user's own.", 98)
            ),
            table=textwrap.fill(f"A line of `table` is a {unit}: {', '.join(columns)}.", 98),
            scalars=textwrap.fill(f"A line of `rows` holds {', '.join(printer.scalars)}.", 98),
            names=f"{self.compute}, uint64" if "subscript" in printer.called else self.compute,
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
    body = p.pass_body(step)
    unit, length, count = "chunk", "n", "n"
    if layout.matrix:
        unit, length, count = "tile", "height", "(height - 1) * columns + tile_width"
    lines = [f"row, {length} = table[{unit}, 0], table[{unit}, 1]", "if row < 0:", "    continue"]
    if layout.reducing:
        lines.append(f"tensor = table[{unit}, {layout.tensor}]")
    if layout.matrix:
        lines += [
            f"first_row, first_column = table[tile, {layout.first_row}], table[tile, {layout.first_column}]",
            "size, columns = tensors[tensor, 1], tensors[tensor, 2]",
            *p.tile_width(),
            *(p.tile_start() if p.blocks_of(step) else []),
        ]
    elif layout.reducing:
        lines.append(f"index = table[chunk, {layout.index}]")
    if p.rounded(step):
        lines.append(f"position = table[{unit}, {layout.position}]")
        if not layout.matrix:
            lines.append(f"first_element = table[chunk, {layout.first_element}]")
    for name in p.touched(step):
        block = layout.block.get(name)
        address, elements = f"table[{unit}, {layout.array[name]}]", count
        if layout.matrix and p.of_tensor(step, name):
            before = "tile_start" + (f" // {block}" if block else "")
            itemsize = np.dtype(_bits(p, name)).itemsize
            address, elements = f"{address} - {before} * {itemsize}", "size * columns"
        numbers = f"({elements} + {block - 1}) // {block}" if block else elements
        lines.append(_view(p, name, address, numbers))
    lines += [*_slots(p), *body]
    lanes = [f"{name} = np.empty({size}, {p.compute})" for name, size in p.lanes.items()]
    lanes += [f"{name} = np.empty({size}, np.uint16)" for name, size in p.buffers.items()]
    lanes += [f"{name} = np.empty({size}, np.int8)" for name, size in p.codes.items()]
    loop = [f"for {unit} in range(first, last):", *indented(lines)]
    return _function(p, p.name_of("pass", k), [*lanes, *loop])


def _fold(p: Printer, k: int) -> str:
    step, layout = p.program.folds[k], p.layout
    p.begin()
    body = fold_body(p, step)
    lines = [
        "row, size = tensors[tensor, 0], tensors[tensor, 1]",
        "columns, chunks = tensors[tensor, 2], tensors[tensor, 3]",
        "if row < 0:",
        "    continue",
    ]
    if layout.matrix:
        lines[1] = "columns = tensors[tensor, 2]"
        lines += [
            f"{name} = ({of} + {unit - 1}) // {unit}"
            for name, of, unit in p.layout.numbers
            if name in p.used
        ]
    counts = {"row": "size", "column": "columns", "tensor": "1"}
    for name, column in layout.small.items():
        if name in step.loads or name in dict(step.stores):
            lines.append(_view(p, name, f"tensors[tensor, {column}]", counts[p.rule.per[name]]))
    loop = ["for tensor in range(first, last):", *indented([*lines, *_slots(p), *body])]
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
    return f"{p.arrays[array]} = carray(pointer({address}, np.{_bits(p, array)}), {count})"


def _bits(p: Printer, array: str) -> str:
    """Return the dtype by which kernels read an array: that of its bits, where it has 16."""
    dtype = p.dtype_of(array)
    return "uint16" if dtype in ("bfloat16", "float16") else dtype


def _slots(p: Printer) -> Lines:
    return [
        f"{name} = tensors[tensor, {p.layout.slot[id(node)]}]"
        for node in p.layout.slots
        if (name := p.slot_name[id(node)]) in p.used
    ]
