"""Printed loops over a tile of a matrix for a CPU.

Sums along rows: in a whole chunk of columns a lane keeps its sum in a register while it adds the
few columns that it has, and lanes stand side by side in SIMD registers. The columns after the last
whole chunk have lanes in memory, no more than they need. Where there are maxima, all lanes are in
memory: with their comparisons the loop over a lane's columns is too long for compilers to unroll
it, and is no SIMD code then.
"""

from __future__ import annotations

from ..language.passes import Step
from ..language.summation import ROW_CHUNK, ROW_LANES, STRIP_ROWS
from ..language.tracer import Expr
from .printer import Printer
from .target import Lines

FETCHED = 64  # lanes whose memory is asked for at once: of one array; of more, half as many
PLACE = "r * columns + start"  # of the first of some columns
# behind it memory is asked for, where a row is summed, in all columns equally far ahead: else some
# are left out
AHEAD = f"{PLACE} + {ROW_CHUNK // 2}"


def tile_loops(p: Printer, step: Step, per_row: Lines, element: Lines) -> Lines:
    """Return ``per_row`` for each row ``r`` of a tile, and ``element`` for each ``i`` at one of its
    ``column``s."""
    by_row = [node for node in step.sums if node.per == "row"]
    by_column = [node for node in step.sums if node.per == "column"]
    p.use("tile_width")
    element = [*element, *(p.add(_in_strip(p, node), node) for node in by_column)]
    i = p.integer("i", p.subscript("r * columns + column"), "columns column")
    body = [*p.integer("column", "start + lane"), *i, *element]
    maxima = any(node.op == "largest" for node in by_row)
    if maxima:
        of_row = _chunks_in_memory(p, step, by_row, body)
    elif by_row:
        of_row = _chunks(p, step, by_row, body)
    else:
        of_row = _parts(p, step, body, "0", "tile_width", PLACE)
    of_row = per_row + of_row
    rows = _strips(p, by_column, of_row) if by_column else p.loop("r", "height", of_row)
    return [*_widths(p), *rows] if by_row and not maxima else rows


def _widths(p: Printer) -> Lines:
    """Return the declarations of how many columns of a row are in whole chunks, and of the number
    of lanes that the others need."""
    whole = f"tile_width - tile_width % {ROW_CHUNK}"
    return [p.target.let("whole", whole, index=True), p.width("tile_width - whole", ROW_LANES)]


def _in_strip(p: Printer, node: Expr) -> str:
    """Return the place of a sum down a column of a strip."""
    return f"{p.use('workspace')}[{p.subscript(f'{p.line_name[id(node)]} + column')}]"


def _chunks(p: Printer, step: Step, nodes: list[Expr], body: Lines) -> Lines:
    """Return the loop over the whole chunks of a row, and what is done with the columns after
    them."""
    whole = [*p.tile_lines(nodes), *_whole_chunk(p, step, nodes, body)]
    whole += [_stored(p, node, p.target.fold_chunk(p, p.lanes_name[id(node)])) for node in nodes]
    rest = p.tile_lines(nodes, "(first_column + whole)")
    rest += _by_lanes(p, step, nodes, body, "whole", "tile_width")
    rest += [_folded(p, node, "width") for node in nodes]
    chunks = p.target.loop("chunk", "whole", whole, "0", str(ROW_CHUNK))
    return [*chunks, *p.target.when("whole < tile_width", rest)]


def _chunks_in_memory(p: Printer, step: Step, nodes: list[Expr], body: Lines) -> Lines:
    """Return the loop over the chunks of a row, whose lanes are in memory."""
    end = p.target.smaller(f"chunk + {ROW_CHUNK}", "tile_width")
    of_chunk = [
        *p.tile_lines(nodes),
        p.target.let("end", end, index=True),
        p.width("end - chunk", ROW_LANES),
        *_by_lanes(p, step, nodes, body, "chunk", "end"),
        *(_folded(p, node, "width") for node in nodes),
    ]
    return p.target.loop("chunk", "tile_width", of_chunk, "0", str(ROW_CHUNK))


def _folded(p: Printer, node: Expr, width: str) -> str:
    """Return the statement that stores the fold of a sum's lanes, or the largest of them."""
    helper = "fold" if node.op == "sum" else "largest_lane"
    return _stored(p, node, p.helper(helper, p.lanes_name[id(node)], width))


def _stored(p: Printer, node: Expr, folded: str) -> str:
    """Return the statement that stores what a chunk's lanes have been folded to."""
    place = f"{p.use('workspace')}[{p.subscript(f'{p.line_name[id(node)]} + r')}]"
    return p.target.assign(place, folded)


def _whole_chunk(p: Printer, step: Step, nodes: list[Expr], body: Lines) -> Lines:
    """Return the loop over the lanes of a whole chunk."""
    target, after = p.target, f"chunk + {ROW_CHUNK}"
    sums = {p.new_name(f"{p.wanted(node)}_lane"): node for node in nodes}
    add = [*body, *(p.add(name, node) for name, node in sums.items())]
    of_lane = [
        *(target.let(name, target.constant(0)) for name in sums),
        *target.loop("start", after, add, "chunk", str(ROW_LANES)),
        *(target.assign(f"{p.lanes_name[id(node)]}[lane]", name) for name, node in sums.items()),
    ]
    if not (target.fetches_ahead and step.loads):
        return target.loop("lane", str(ROW_LANES), of_lane, "0", "1")
    fetched = FETCHED if len(step.loads) == 1 else FETCHED // 2
    ahead = p.fetches(step, AHEAD, str(fetched))
    return target.loop(
        "block",
        str(ROW_LANES),
        [
            *target.loop("start", after, ahead, "chunk + block", str(ROW_LANES)),
            *target.loop("lane", f"block + {fetched}", of_lane, "block", "1"),
        ],
        "0",
        str(fetched),
    )


def _by_lanes(
    p: Printer, step: Step, nodes: list[Expr], body: Lines, first: str, end: str
) -> Lines:
    """Return the loops over the columns from ``first`` to ``end``, by lanes in memory."""
    lines: Lines = []
    for node in nodes:
        lines += p.zero_lanes(node, ROW_LANES)
        body = [*body, p.add(f"{p.lanes_name[id(node)]}[lane]", node)]
    return lines + _parts(p, step, body, first, end, AHEAD)


def _parts(p: Printer, step: Step, body: Lines, first: str, end: str, ahead: str) -> Lines:
    """Return the loop over the columns from ``first`` to ``end``, so many at a time as there are
    lanes; memory is asked for behind ``ahead``."""
    inner = p.lane_loop(step, ahead, ROW_LANES, f"{end} - start", body)
    return p.target.loop("start", end, inner, first, str(ROW_LANES))


def _strips(p: Printer, nodes: list[Expr], of_row: Lines) -> Lines:
    """Return ``of_row`` for each row ``r``, strip by strip; each strip has its line of sums down
    columns, which begins as zero."""
    lines = []
    for node in nodes:
        slot = p.use(f"{p.slot_name[id(node)]} first_row columns first_column").split()[0]
        line = f"(first_row + strip){p.target.quotient}{STRIP_ROWS} * columns + first_column"
        lines.append(p.target.let(p.line_name[id(node)], f"{slot} + {line}", index=True))
        zero = p.target.assign(_in_strip(p, node), p.target.constant(0))
        lines += p.loop("column", "tile_width", [zero])
    end = p.target.smaller(f"strip + {STRIP_ROWS}", p.use("height"))
    rows = p.target.loop("r", end, of_row, "strip", "1")
    return p.loop("strip", "height", [*lines, *rows], STRIP_ROWS)
