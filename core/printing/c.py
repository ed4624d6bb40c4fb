"""Printer of a rule as plain C99 that C++ takes, too: one function over raw pointers for one
tensor, on all threads if OpenMP is switched on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..language.passes import Step
from ..language.summation import CHUNK, STRIP_ROWS
from .c_family import CFamily, function, title
from .c_host import API, array_type, scalars_function, sizes, structures
from .c_names import field
from .folds import fold_body
from .printer import Printer
from .shares import share_loops
from .target import Lines
from .templates import read
from .tiles import tile_loops

TEXTS = read("c_file.c")


class C(CFamily):
    """Plain C99 for one tensor."""

    def scalar(self, name: str, scalars: Sequence[str]) -> str:
        return f"s->{field(name)}"

    def flat_loops(self, printer: Printer, step: Step, element: Lines) -> Lines:
        loops = printer.flat_loops(step, element)
        if printer.layout.reducing:
            return loops
        return [
            *_parallel("n", simd=not (printer.blocks_of(step) or printer.rounded(step))),
            *loops,
        ]

    def tile_loops(self, printer: Printer, step: Step, per_row: Lines, element: Lines) -> Lines:
        return tile_loops(printer, step, per_row, element)

    def share_loops(self, printer: Printer, step: Step, per_row: Lines, element: Lines) -> Lines:
        return share_loops(printer, step, per_row, element)

    def source(self, printer: Printer) -> str:
        return file([printer], title(printer))


def file(
    printers: Sequence[Printer],
    top: str,
    more: Callable[[Printer], Lines] | None = None,
) -> str:
    """Return the text of functions for some variants of a rule, with what they need. ``more``
    returns functions that stand before those of a step."""
    body = "\n".join(functions(p, more(p) if more else []) for p in printers)
    called = set().union(*(p.called for p in printers))
    target = printers[0].target
    root = "double sqrt(double)" if target.compute == "float64" else "float sqrtf(float)"
    head = TEXTS["head"].replace("@SQRT", root)
    return f"{top}{head}{target.helper_texts(called)}\n{body}{TEXTS['tail']}"


def functions(p: Printer, more: Lines) -> str:
    """Return the structures and functions of one variant of a rule."""
    parts = [structures(p), *more, scalars_function(p)]
    for kind, k in p.program.launches or (("pass", 0),):  # a rule may change nothing
        parts.append(_pass(p, k) if kind == "pass" else _fold(p, k))
    if p.layout.reducing:
        parts += [_workspace_size(p), _driver(p)]
    return "\n".join(parts)


def placed(p: Printer) -> Lines:
    """Return the arguments that say which tensor it is, and how large: its position in the
    optimizer, where random bits go by that, and its sizes."""
    return ["position"] * p.layout.rounds + sizes(p)


def typed(names: Iterable[str]) -> Lines:
    """Return integers as arguments, with their type."""
    return [f"int64_t {name}" for name in names]


def array_arguments(p: Printer, names: Iterable[str]) -> Lines:
    """Return the declarations of arrays as arguments."""
    return [f"{array_type(p, name)} *RESTRICT {p.arrays[name]}" for name in names]


def _pass(p: Printer, k: int) -> str:
    step = p.program.passes[k]
    p.begin()
    body = p.pass_body(step)
    scalars = f"const {p.rule.label}_scalars *s"
    if not p.layout.reducing:
        arguments = [scalars, *typed(placed(p)), *array_arguments(p, p.program.arrays)]
        name = f"{API} void {p.rule.label}_update"
        lines = [*p.integer("first_element", "0"), *body]
        return function(name, arguments, lines, _used(p, step) | {"n"})
    lines = _tile(p, step) if p.layout.matrix else _chunk(p, step)
    arguments = [scalars, *typed(["index", *placed(p)])]
    arguments += [*array_arguments(p, p.touched(step)), f"{p.target.real} *workspace"]
    lanes = [f"{p.target.real} {name}[{size}];" for name, size in p.lanes.items()]
    lines = [*lines, *lanes, *body]
    return function(f"static void {p.rule.label}_pass{k}", arguments, lines, _used(p, step))


def _chunk(p: Printer, step: Step) -> Lines:
    """Return where a chunk is, as declarations."""
    shifted = [
        f"{p.arrays[name]} += {p.use('index')} * {CHUNK // p.layout.block.get(name, 1)};"
        for name in p.touched(step)
    ]
    rest = p.target.smaller(f"size - index * {CHUNK}", str(CHUNK))
    length = p.integer("n", rest, "size index")
    first = p.integer("first_element", f"index * {CHUNK}", "index")
    return [*length, *first, *_slots(p), *shifted]


def _tile(p: Printer, step: Step) -> Lines:
    """Return where a tile is, as declarations: one strip of rows by some chunks of columns."""
    place = "first_row * columns + first_column"
    shifted = [
        f"{p.arrays[name]} += {p.use(place)};"
        for name in p.touched(step)
        if not p.of_tensor(step, name)
    ]
    rest = p.target.smaller("size - first_row", str(STRIP_ROWS))
    extent = [*p.integer("height", rest, "size first_row"), *p.tile_width()]
    start = p.tile_start()
    row = p.integer("first_row", f"index / across * {STRIP_ROWS}", "index across")
    width = p.layout.tile_columns
    column = p.integer("first_column", f"index % across * {width}", "index across")
    return [*_across(p), *row, *column, *start, *_slots(p), *extent, *shifted]


def _fold(p: Printer, k: int) -> str:
    step = p.program.folds[k]
    p.begin()
    body = fold_body(p, step)
    arguments = [f"const {p.rule.label}_scalars *s", *typed(sizes(p))]
    arguments += [*array_arguments(p, p.program.small), f"{p.target.real} *workspace"]
    lines = [*_slots(p), *body]
    return function(f"static void {p.rule.label}_fold{k}", arguments, lines, _used(p, step))


def _used(p: Printer, step: Step) -> set[str]:
    """Return the arguments that a pass or fold uses."""
    arrays = {p.arrays[name] for name in (*p.touched(step), *step.loads, *dict(step.stores))}
    scalars = any(node.op == "scalar" for node in step.nodes) or "grad" in step.loads
    scalars = scalars or bool(p.rounded(step))
    return p.used | arrays | ({"s"} if scalars else set())


def _across(p: Printer) -> Lines:
    """Return the declaration of how many tiles stand side by side."""
    width = p.layout.tile_columns
    return p.integer("across", f"(columns + {width - 1}) / {width}", "columns")


def _slots(p: Printer) -> Lines:
    """Return numbers of chunks and offsets into the workspace: each slot starts where the one
    before it ends."""
    starts, position = [], "0"
    for node in p.layout.slots:
        name = p.slot_name[id(node)]
        starts.append((name, position))
        position = f"{name} + {p.layout.slot_size(node)}"
    lines: Lines = []
    for name, position in reversed(starts):  # what is used is known from behind
        lines = [*p.integer(name, position), *lines]
    return [*_numbers(p), *lines]


def _numbers(p: Printer) -> Lines:
    return [
        line
        for name, of, unit in p.layout.numbers
        for line in p.integer(name, f"({of} + {unit - 1}) / {unit}", of)
    ]


def _workspace_size(p: Printer) -> str:
    label = p.rule.label
    p.begin()
    numbers = p.use(" + ".join(map(p.layout.slot_size, p.layout.slots)) or "0")
    lines = [*_numbers(p), f"return {numbers};"]
    about = f"/* How many numbers the workspace of {label}_update holds. */\n"
    return about + function(f"{API} int64_t {label}_workspace", typed(sizes(p)), lines, p.used)


def _driver(p: Printer) -> str:
    label, program = p.rule.label, p.program
    p.begin()
    lines: Lines = []
    count = "strips * across" if p.layout.matrix else "chunks"
    for kind, k in program.launches:
        arrays = p.touched(program.passes[k]) if kind == "pass" else program.small
        passed = [
            *(placed(p) if kind == "pass" else sizes(p)),
            *(p.arrays[name] for name in arrays),
            "workspace",
        ]
        p.use(" ".join(["s", *passed]))
        if kind == "fold":
            lines.append(f"{label}_fold{k}(s, {', '.join(passed)});")
        else:
            call = f"{label}_pass{k}(s, index, {', '.join(passed)});"
            lines += [*_parallel(" * ".join(sizes(p))), *p.loop("index", count, [call])]
    arguments = [f"const {label}_scalars *s", *typed(placed(p))]
    arguments += array_arguments(p, (*program.arrays, *program.small))
    shape = "size rows by columns" if p.layout.matrix else "size elements"
    return f"/* One step of one tensor of {shape}. */\n" + function(
        f"{API} void {label}_update",
        [*arguments, f"{p.target.real} *workspace"],
        [*_numbers(p), *_across(p), *lines],
        p.used,
    )


def _parallel(elements: str, *, simd: bool = False) -> Lines:
    """Return lines that spread the loop behind them over threads. No bit depends on their
    number."""
    what, condition = ("for simd", "parallel : ") if simd else ("for", "")
    pragma = f"#pragma omp parallel {what} if ({condition}{elements} >= SAMESTEP_PARALLEL_FROM)"
    return ["#ifdef _OPENMP", pragma, "#endif"]
