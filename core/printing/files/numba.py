"""One Python file that needs NumPy and Numba: printed kernels, one launch a pass for all
parameters, on all cores."""

from __future__ import annotations

from collections.abc import Iterable

from ...language.blockwise import scales_of
from ...language.summation import CHUNK, ROW_CHUNK, STRIP_ROWS
from ..exported import Exported
from ..numba import POINTER, Numba, kernels
from ..printer import Printer
from ..quoting import literal
from ..templates import Words, filled, read
from .python import PythonFile, joined, whole_file

TEXTS = read("numba_file.py.txt")
STANDARD = (
    "import functools",
    "import os",
    "from concurrent.futures import ThreadPoolExecutor",
    "from threading import Event",
)


def text(exported: Exported) -> str:
    """Return the text of the file."""
    return whole_file(exported, _text)


def _text(file: PythonFile) -> str:
    exported = file.exported
    printers = exported.printers(Numba)
    printed = "\n\n".join(map(kernels, printers))
    called = set().union(*(printer.called for printer in printers))
    target, reducing = printers[0].target, any(printer.layout.reducing for printer in printers)
    third = [
        f"from numpy import {target.compute}" + ", uint64" * ("subscript" in called),
        "from numba import carray, njit, types",
        "from numba.extending import intrinsic",
    ]
    constants = [f"CHUNK = {CHUNK:_}  # elements, of which a line of the launch table takes care"]
    if reducing:
        tile = f"STRIP_ROWS, TILE_COLUMNS = {STRIP_ROWS}, {Numba.tile_columns:_}"
        constants.append(f"{tile}  # the same, of a matrix")
        constants.append(f"ROW_CHUNK = {ROW_CHUNK:_}  # columns that are summed at once")
    constants.append(f"SMALL_WORK = {1 << 15:_}  # elements; done before another thread wakes up")
    constants.append(file.constants([_launch_words(printer, reducing) for printer in printers]))
    code = f"{target.helper_texts(called)}\n\n{printed}".strip("\n")
    launches = "All chunks of all tensors in one launch."
    if reducing:
        launches = "One pass after the other over the chunks of all tensors, folds between them."
    i, position = ", i" * file.rounds, ", np.full_like(index, i)" * file.rounds
    body: Words = {
        "EACH": _by_block(file),
        "TENSOR": f"param, grad, entry{i}",
        "COLUMNS": "4" if file.rounds else "2",
        "PLACE": ["lines[:, -2], lines[:, -1] = i, start"] * file.rounds,
        "OF_TILE": f"first_row, first_column{position}",
        "OF_CHUNK": f"index{position}" + ", first_row" * file.rounds,
    }
    words: Words = {
        "TENSOR": f"param, grad, entry{i}",
        "ENTRY": "_, _, entry" + ", _" * file.rounds,
        "RULES": "(MATRICES, VECTORS)" if len(file.rules) > 1 else "(RULE,)",
        "LAUNCHES": launches,
        "BODY": filled(TEXTS["reducing" if reducing else "flat"], body),
    }
    step = file.step(TEXTS["step"], words) + file.block_functions(loads=False)
    return joined(
        f"{file.docstring('NumPy and Numba', False)}\n{file.imports(STANDARD, third)}",
        f"# ---- the rule's own text, of scalars\n\n\n{file.own_text}",
        f"# ---- what it is written in\n\n{file.scalar_vocabulary()}",
        f"# ---- the kernels\n\n{TEXTS['options']}{POINTER}\n\n{code}",
        "# ---- the optimizer\n\n" + "\n".join([*constants, f"{file.host()}{step}"]),
        exported.check,
    )


def _by_block(file: PythonFile) -> str:
    """Return what makes a place in elements one in any of the arrays: scales are one for a block,
    codes may be two in a byte."""
    sizes = {scales_of(name): codec.size for name, codec in file.blocks.items()}
    sizes |= {name: 2 for name, codec in file.blocks.items() if codec.bits == 4}
    return f" // {literal(sizes)}.get(name, 1)" if sizes else ""


def _launch_words(printer: Printer, reducing: bool) -> str:
    """Return what a launch must know of a variant, as arguments."""
    layout, program = printer.layout, printer.program
    kernels = _tuple(f"({each.name}, {literal(each.over)})" for each in printer.functions())
    lines = [f"kernels={kernels}", f"arrays={_tuple(map(literal, program.arrays))}"]
    if reducing:
        slots = _tuple(map(layout.slot_size, layout.slots))
        numbers = ", ".join(name for name, _, _ in layout.numbers)
        lines += [
            f"small={_tuple(map(literal, program.small))}",
            f"matrix={layout.matrix}",
            f"slots=lambda size, columns, {numbers}: {slots}",
        ]
    return ",\n    ".join(lines)


def _tuple(texts: Iterable[str]) -> str:
    """Return a tuple in one line if that is short, else in a line each."""
    items = [*texts]
    line = f"({', '.join(items)}{',' * (len(items) == 1)})"
    return line if len(line) < 80 else "(\n" + "".join(f"        {i},\n" for i in items) + "    )"
