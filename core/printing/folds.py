"""Printed folds: the statements between two passes, for one tensor.

A fold is cut into parts. Numbers of one part do not depend on each other across rows or columns,
so a part can be spread over any number of blocks: first one whose numbers exist per row or per
column, then one whose numbers exist per tensor, among them sums of the vectors before it, and so on
in turns. On a CPU one function has them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..language.passes import Step, reachable, statements
from ..language.tracer import Expr
from .expressions import POSITION
from .printer import Printer
from .target import Lines, indented

COUNT = {"row": "size", "column": "columns"}


@dataclass(frozen=True)
class Part:
    """A part computes sums over the tensor (``totals``), ``values`` that go to the workspace, and
    new values of states."""

    totals: tuple[Expr, ...]
    values: tuple[Expr, ...]
    stores: tuple[tuple[str, Expr], ...]

    @property
    def roots(self) -> tuple[Expr, ...]:
        """The nodes that the part computes the others for."""
        return (*self.totals, *self.values, *(expr for _, expr in self.stores))


def parts(p: Printer, fold: Step) -> list[Part]:
    """Return the parts of a fold in their order: per rows and columns, and per tensor, in turns."""
    levels = _levels(fold)

    def place(node: Expr) -> int:
        level = levels.get(id(node), 0)
        return level | 1 if node.per == "tensor" else level + level % 2

    totals = [n for n in fold.nodes if is_total(n)]
    totals += [n for n in fold.received if of_chunks(n)]
    values = [c for c in fold.crossings if not is_total(c)]
    # a row's new value may need a tensor's old one; no sum is left to be made where there are
    # stores
    stores = [(s, int(p.rule.per[s[0]] == "tensor")) for s in fold.stores]
    last = max([place(n) for n in (*totals, *values)] + [k for _, k in stores], default=-1)
    return [
        Part(
            totals=tuple(n for n in totals if place(n) == k),
            values=tuple(n for n in values if place(n) == k),
            stores=tuple(store for store, at in stores if at == k),
        )
        for k in range(last + 1)
    ]


def is_total(node: Expr) -> bool:
    """Return true for a sum over the tensor."""
    return node.op == "sum" and node.per == "tensor"


def of_chunks(node: Expr) -> bool:
    """Return true for a sum of which a pass has given those of chunks; of no matrix."""
    return is_total(node) and node.args[0].per == "element"


def _levels(fold: Step) -> dict[int, int]:
    """Return the number of the part in which each node is known first: even ones compute per row
    and column, odd ones per tensor."""
    levels = {id(n): int(of_chunks(n)) for n in fold.received}
    for node in fold.nodes:
        level = max((levels.get(id(arg), 0) for arg in node.args), default=0)
        if is_total(node) or (node.per in COUNT and level % 2):
            level += 1
        levels[id(node)] = level
    return levels


def fold_body(p: Printer, fold: Step) -> Lines:
    """Return all statements between two passes, for one tensor; ``size``, ``columns``, the numbers
    of ``chunks`` and ``strips`` and the small arrays are known."""
    lines: Lines = []
    for node in fold.finished:
        if node.per in COUNT:
            lines.append(add_lines(p, node))
    return lines + all_parts(p, fold)


def all_parts(p: Printer, fold: Step) -> Lines:
    """Return the statements of all parts of a fold, for one tensor whose sums along rows and down
    columns are finished."""
    lines: Lines = []
    given = [*fold.received]
    for part in parts(p, fold):
        lines += part_lines(p, fold, part, given)
        given += part.totals
    return lines


def _place(p: Printer, node: Expr) -> str:
    return p.in_workspace(node, "" if node.per == "tensor" else POSITION[node.per])


def add_lines(p: Printer, node: Expr) -> str:
    """Return the statement that finishes a sum or maximum along rows or down columns."""
    count, width = ("chunks", "size") if node.per == "row" else ("strips", "columns")
    p.use(f"workspace {p.slot_name[id(node)]} {count} {width}")
    lines = p.target.lines(p.slot_name[id(node)], count, width)
    return f"{p.helper(of_lines(node), *lines)}{p.target.end}"


def of_lines(node: Expr) -> str:
    """Return the name of the helper that reduces the lines of a sum or maximum to the first one."""
    return "add_lines" if node.op == "sum" else "largest_lines"


def part_lines(p: Printer, fold: Step, part: Part, given: Iterable[Expr]) -> Lines:
    """Return the statements of a part. What is ``given`` is in the workspace, or, of a sum over the
    tensor that is no matrix, its chunks' sums are."""
    there = {id(n) for n in given if not of_chunks(n)}
    known = there | set(p.text_of)
    found = reachable(part.roots, lambda n: id(n) in known or is_total(n))
    nodes = [n for n in found if id(n) not in known]
    lines: Lines = []
    for node in found:
        if id(node) in there and id(node) not in p.text_of:
            p.text_of[id(node)] = _place(p, node)
            if node.per == "tensor":
                lines.append(_named(p, node))
    for node in nodes:
        if node.op == "input":
            array = p.use(p.arrays[str(node.name)])
            p.text_of[id(node)] = f"{array}[{POSITION[node.per]}]"
        elif node.op == "scalar":
            p.text_of[id(node)], line = p.scalar(str(node.name))
            lines.append(line)
    values = {id(n) for n in part.values}
    written = {id(n) for n in (*statements(fold), *part.totals)} | values
    for node in nodes:
        if node.per in ("tensor", "scalar") and id(node) in written:
            used = any(arg is node for n in nodes for arg in n.args)
            lines += _tensor_statement(p, node, used, crosses=id(node) in values)
    for per in COUNT:
        lines += _vector_loop(p, part, per)
    return lines + _tensor_stores(p, part)


def _named(p: Printer, node: Expr) -> str:
    """Return the declaration of a variable with a number out of the workspace."""
    name, place = p.new_name(p.wanted(node)), p.text_of[id(node)]
    p.text_of[id(node)] = name
    return p.target.let(name, place)


def _tensor_statement(p: Printer, node: Expr, used: bool, crosses: bool) -> Lines:
    """Return the statements that compute a number that exists once a tensor; ``used``: now."""
    if is_total(node) and not of_chunks(node):
        p.use("workspace")
        lines = [p.target.sum_as_row(p, p.slot_name[id(node.args[0])], p.slot_name[id(node)])]
        if used:
            p.text_of[id(node)] = _place(p, node)
            lines.append(_named(p, node))
        return lines
    name = p.new_name(p.wanted(node))
    lines = [p.target.let(name, _total(p, node) if is_total(node) else p.text(node))]
    p.text_of[id(node)] = name
    if crosses:
        lines.append(f"{p.target.once}{p.target.assign(_place(p, node), name)}")
    return lines


def _total(p: Printer, node: Expr) -> str:
    p.use("workspace")
    return p.helper("total", *p.target.part(p.use(p.slot_name[id(node)]), p.use("chunks")))


def _vector_loop(p: Printer, part: Part, per: str) -> Lines:
    """Return the loop over rows or columns that computes a part's numbers."""
    values = [n for n in part.values if n.per == per]
    body: Lines = []
    for node in values:
        name = p.new_name(p.wanted(node))
        body += [p.target.let(name, p.text(node)), p.target.assign(_place(p, node), name)]
        p.text_of[id(node)] = name
    body += _stores(p, per, [s for s in part.stores if p.rule.per[s[0]] == per])
    for node in values:
        p.text_of[id(node)] = _place(p, node)
    return p.target.vector_loop(p, POSITION[per], COUNT[per], body) if body else []


def _stores(p: Printer, per: str, stores: list[tuple[str, Expr]]) -> Lines:
    """Return statements that store the new values of states that there is one of per ``per``.
    If one of them needs another one's old value, all are computed before any is stored."""
    names = {name for name, _ in stores}
    read = [(n.name, name) for name, e in stores for n in reachable([e]) if n.op == "input"]
    values = [p.text(expr) for _, expr in stores]
    before: Lines = []
    if any(other in names and other != name for other, name in read):
        new = [p.new_name(name) for name, _ in stores]
        before = [p.target.let(name, value) for name, value in zip(new, values, strict=True)]
        values = new
    return before + [
        p.target.assign(f"{p.use(p.arrays[name])}[{POSITION[per]}]", value)
        for (name, _), value in zip(stores, values, strict=True)
    ]


def _tensor_stores(p: Printer, part: Part) -> Lines:
    stores = _stores(p, "tensor", [s for s in part.stores if p.rule.per[s[0]] == "tensor"])
    if not stores or not p.target.once:
        return stores
    # what one thread writes, others may still be reading
    return [*p.target.barrier, f"{p.target.once}{{", *indented(stores), "}"]
