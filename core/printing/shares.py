"""Printed loops of a step that stores blocks of a matrix: over elements in their order, not by
rows.

A block is neighbours in memory and may go from row to row, and from tile to tile. So in such a
step, in which nothing is summed, a tile has as many elements as ever, but others: its share. The
shares of tiles follow each other without a gap, and end where blocks do.
"""

from __future__ import annotations

from ..language.passes import Step
from .printer import Printer
from .target import Lines


def share_bounds(p: Printer, longest: int) -> Lines:
    """Return the declarations of ``from_element`` and ``to_element``, between which a tile's share
    is, of whole blocks of the ``longest`` size, but for the tensor's last one."""
    p.use("size columns height tile_width first_row first_column")

    def up(elements: str) -> str:
        start = f"first_row * columns + height * {elements}"
        return f"({start} + {longest - 1}){p.target.quotient}{longest} * {longest}"

    let = p.target.let
    return [
        let("from_element", up("first_column"), index=True),
        let("share_end", up("(first_column + tile_width)"), index=True),
        let("to_element", p.target.smaller("share_end", "size * columns"), index=True),
    ]


def share_loops(p: Printer, step: Step, per_row: Lines, element: Lines) -> Lines:
    """Return the loops for a CPU: ``element`` for each ``i``, which is in row ``r``, block by
    block. ``per_row`` is done for each row of a block."""
    target, longest = p.target, p.longest_block(step)
    let, bounds = target.let, share_bounds(p, longest)
    body = [
        *p.integer("column", "start + lane - r * columns", "columns"),
        *p.integer("i", p.subscript("start + lane")),
        *p.block_scales(step, longest, "(start + lane)"),
        *element,
    ]
    row = [
        *per_row,
        let("from_lane", f"r * columns - {target.smaller('start', 'r * columns')}", index=True),
        let("to_lane", target.smaller("count", "(r + 1) * columns - start"), index=True),
        *target.loop("lane", "to_lane", body, "from_lane", "1"),
    ]
    first = f"start{target.quotient}columns"
    end = f"(start + count - 1){target.quotient}columns + 1"
    block = [
        *p.block_scales(step, longest, "start"),
        let("count", target.smaller(str(longest), "to_element - start"), index=True),
        *p.unpacked_codes(step),
        *target.loop("r", end, row, first, "1"),
        *p.stored_blocks(step, longest),
    ]
    return [*bounds, *target.loop("start", "to_element", block, "from_element", str(longest))]
