"""Printed folds: the statements between two passes, for one tensor."""

from __future__ import annotations

from ..language.passes import Step, reachable, statements
from ..language.tracer import Expr
from .printer import Printer
from .target import Lines

POSITION = {"row": "r", "column": "column", "tensor": "0"}  # within a state of that many numbers


def fold_body(p: Printer, step: Step) -> Lines:
    """Return the statements between two passes, for one tensor; ``size``, ``columns``,
    ``chunks`` and the small arrays are known."""
    lines = p.scalar_lines(step)
    for node in step.finished:
        if node.per == "column":
            p.use(f"{p.slot_name[id(node)]} workspace chunks columns")
            strips = p.target.strips(p.slot_name[id(node)])
            lines.append(f"{p.helper('fold_strips', *strips)}{p.target.end}")
    crossing = {id(n) for n in step.crossings}
    written = {id(n) for n in statements(step)} | crossing
    stored = [expr for _, expr in step.stores]
    mentioned = {id(n) for n in (*stored, *(arg for n in step.nodes for arg in n.args))}
    for node in step.nodes:
        if node.op == "input":
            p.text_of[id(node)] = f"{p.arrays[str(node.name)]}[{POSITION[node.per]}]"
            if id(node) in crossing:
                lines += _fold_statement(p, node)
        elif node.op == "sum" and node.per != "tensor":
            if id(node) in mentioned:  # else only a later pass needs it
                p.text_of[id(node)] = _place(p, node)
        elif node.op == "sum" or id(node) in written:
            lines += _fold_statement(p, node)
    for per in POSITION:  # a row's new value may need a tensor's old one
        lines += _small_stores(p, per, [s for s in step.stores if p.rule.per[s[0]] == per])
    return lines


def _small_stores(p: Printer, per: str, stores: list[tuple[str, Expr]]) -> Lines:
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
    assigned = [
        p.target.assign(f"{p.arrays[name]}[{POSITION[per]}]", value)
        for (name, _), value in zip(stores, values, strict=True)
    ]
    if before and per != "tensor":
        return _over(p, per, *before, *assigned)
    return before + [line for store in assigned for line in _over(p, per, store)]


def _place(p: Printer, node: Expr) -> str:
    return p.in_workspace(node, "" if node.per == "tensor" else POSITION[node.per])


def _over(p: Printer, per: str, *lines: str) -> Lines:
    """Return ``lines`` for every row or column of the tensor, or once."""
    barrier = p.target.barrier
    if per == "tensor":  # what one thread writes, others may still be reading
        return [*barrier, *(f"{p.target.once}{line}" for line in lines), *barrier]
    count = "size" if per == "row" else "columns"
    return [*p.shared_loop(POSITION[per], count, [*lines]), *barrier]


def _fold_statement(p: Printer, node: Expr) -> Lines:
    """Return one value of a fold: a variable if it exists per tensor, else a vector in the
    workspace."""
    if node.per != "tensor" and node.per != "scalar":
        line = p.target.assign(_place(p, node), p.text(node))
        p.text_of[id(node)] = _place(p, node)
        return _over(p, node.per, line)
    name = p.new_name(p.wanted(node))
    value = _total(p, node) if node.op == "sum" else p.text(node)
    lines = [p.target.let(name, value)]
    p.text_of[id(node)] = name
    if id(node) in p.slot_name and node.op != "sum":
        lines.append(f"{p.target.once}{p.target.assign(_place(p, node), name)}")
    return lines


def _total(p: Printer, node: Expr) -> str:
    (arg,) = node.args
    summed, count = (node, "chunks") if arg.per == "element" else (arg, "size")
    if p.program.matrix:
        count = "size"
    start = p.use(p.slot_name[id(summed)])
    p.use("workspace")
    return p.helper("total", *p.target.part(start, p.use(count)))
