"""Printed CUDA: the kernels of a fold.

Of a matrix, sums along rows and down columns are finished first, by all blocks: each tile has a
share of the rows and of the columns that it stands in. Then come the parts of the fold in turns: a
block has some rows or columns, or all of one tensor.
"""

from __future__ import annotations

from collections.abc import Callable

from ..language.passes import Step
from ..language.summation import ROW_CHUNK, STRIP_ROWS
from ..language.tracer import Expr
from .folds import COUNT, Part, of_lines, part_lines, parts
from .printer import Printer
from .target import Launch, Lines, indented

Kernel = tuple[Launch, Callable[[], Lines]]  # and what prints its body


def fold_kernels(p: Printer, name: str, fold: Step) -> list[Kernel]:
    """Return the launches of a fold and what prints the body of each."""
    found = parts(p, fold)
    if not p.layout.matrix:  # there are no rows or columns
        return [(Launch(name, "tensors", False), lambda: _part(p, fold, found, 1))]
    kernels: list[Kernel] = []
    if any(node.per in COUNT for node in fold.finished):
        launch = Launch(f"{name}_sums", "table", False)
        kernels.append((launch, lambda: _finished_sums(p, fold)))
    for k, part in enumerate(found):
        if part.roots or _sums_after(found, k):
            launch = Launch(f"{name}_part{k}", "tensors" if k % 2 else "table", False)
            kernels.append((launch, lambda k=k: _part(p, fold, found, k)))  # type: ignore[misc]
    return kernels


def _sums_after(found: list[Part], k: int) -> bool:
    return k % 2 == 0 and k + 1 < len(found) and bool(found[k + 1].totals)


def _part(p: Printer, fold: Step, found: list[Part], k: int) -> Lines:
    earlier = [node for part in found[:k] for node in (*part.totals, *part.values)]
    lines = part_lines(p, fold, found[k], [*fold.received, *earlier])
    if _sums_after(found, k):
        lines += _over_rows(p, [_chunk_sums(p, node) for node in found[k + 1].totals])
    return lines


def _chunk_sums(p: Printer, node: Expr) -> str:
    """Return the statement that sums the chunks of a vector that begin in this block's rows."""
    values, sums = (p.use(p.slot_name[id(each)]) for each in (node.args[0], node))
    p.use("workspace")
    arguments = [p.target.behind(values), "first_row", "end", p.target.behind(sums)]
    return f"{p.helper('sum_chunks', *arguments)};"


def add_chunks(p: Printer, sums: str) -> str:
    """Return the statement that adds the chunks' sums of a vector."""
    count = f"(size + {ROW_CHUNK - 1}){p.target.quotient}{ROW_CHUNK}"
    p.use(f"{sums} workspace size")
    return f"{p.helper('add_lines', p.target.behind(sums), count, '1', '1')};"


def vector_loop(p: Printer, variable: str, body: Lines) -> Lines:
    """Return the loop over the rows or columns that a block has of a matrix."""
    first, end = ("first_row", "end") if variable == "r" else ("first_column", "end")
    thread, threads = p.target.threads
    loop = p.target.loop(variable, end, body, f"{first} + {thread}", threads)
    if variable == "r":
        return _over_rows(p, loop)
    p.use("first_row first_column tile_width")
    end_line = p.target.let("end", "first_column + tile_width", index=True)
    return ["if (first_row == 0) {", *indented([end_line, *loop]), "}"]


def _over_rows(p: Printer, lines: Lines) -> Lines:
    """Return ``lines`` for the rows from ``first_row`` to ``end`` that a block has: those of a tile
    on the left, or as many as make a whole chunk of a vector."""
    p.use("first_row first_column tile_rows size")
    rows = p.target.smaller(
        "size", f"first_row + (tile_rows < {ROW_CHUNK} ? {ROW_CHUNK} : tile_rows)"
    )
    return [
        f"if (first_column == 0 && first_row % {ROW_CHUNK} == 0) {{",
        *indented([p.target.let("end", rows, index=True), *lines]),
        "}",
    ]


def _finished_sums(p: Printer, fold: Step) -> Lines:
    """Return statements that add up the tiles' parts of sums."""
    p.use("workspace size columns first_row first_column")
    lines: Lines = []
    over = p.target.quotient
    for node in fold.finished:
        if node.per == "row":
            p.use("height")
            count, apart, first, n, index = (
                f"(columns + {ROW_CHUNK - 1}){over}{ROW_CHUNK}", "size", "first_row", "height",
                f"first_column{over}{ROW_CHUNK}",
            )  # fmt: skip
        else:
            p.use("tile_rows tile_width")
            count, apart, first, n, index = (
                f"(size + tile_rows - 1){over}tile_rows", f"tile_rows{over}{STRIP_ROWS} * columns",
                "first_column", "tile_width", f"first_row{over}tile_rows",
            )  # fmt: skip
        share = [
            f"const int64_t tiles = {count}, share = (uint32_t)({n} + tiles - 1) / (uint32_t)tiles;",
            f"const int64_t before = {index} * share, left = {n} - before;",
        ]
        start = p.target.behind(f"{p.use(p.slot_name[id(node)])} + {first} + before")
        mine = p.target.smaller("left", "share")
        share.append(f"{p.helper(of_lines(node), start, 'tiles', apart, mine)};")
        lines += ["{", *indented(share), "}"]
    return lines
