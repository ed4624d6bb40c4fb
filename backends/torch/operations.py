"""The passes and folds of a traced rule as graphs of PyTorch's single operations.

Every number is an input tensor of the compute dtype, be it a scalar of the step or a constant of
the rule. PyTorch would give a constant its default dtype and compute ``3 / x`` as
``3 * reciprocal(x)``; its compiler would simplify ``0 + x`` to ``x``, which is not the same for -0,
and divide by a number in ways of its own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from ...language.kept import kept
from ...language.passes import Step, program, reachable
from ...language.rule import Rule
from ...language.tracer import COMPARISONS, Expr, operation
from ...language.vocabulary import Vocabulary
from .exact_sqrt import exact_sqrt
from .sums import total_of_rows

Tensor = torch.Tensor
COEFFICIENT = "grad_coefficient"  # the last of a row's scalars; it multiplies the gradient


def finite_or_zero(x: Tensor, zero: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``x`` with ``zero`` in place of infinities and NaN: one operation, but for the
    compiler, which would make constants of its own."""
    if torch.compiler.is_compiling():
        return torch.where(torch.isfinite(x), x, zero)
    return torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0, out=out)


def stored(x: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
    """Return ``x`` rounded to ``dtype``, in the dtype that it had."""
    rounded = x.to(dtype)
    return rounded.to(x.dtype) if out is None else out.copy_(rounded)


def upper_half(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the bfloat16 that is nearest to ``x``, of two the one farther from zero."""
    bits = (x.float().view(torch.int32) + 0x8000) & ~0xFFFF
    return _chosen(x == x, bits.view(torch.float32), x, out)


def lower_half(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Return how many float32 numbers ``x`` lies above its upper half, counted away from zero."""
    bits = x.float().view(torch.int32)
    lower = ((bits & 0xFFFF) ^ 0x8000) - 0x8000  # with the sign of the highest of 16 bits
    return _chosen(x == x, lower.to(x.dtype), x.new_zeros(()), out)


def from_halves(upper: Tensor, lower: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the float32 that has these halves; ``upper`` itself if none has."""
    bits = upper.float().view(torch.int32) + lower.to(torch.int32)
    x = bits.view(torch.float32).to(upper.dtype)
    return _chosen(x == x, x, upper, out)


def _chosen(condition: Tensor, a: Tensor, b: Tensor, out: Tensor | None) -> Tensor:
    chosen = torch.where(condition, a.to(b.dtype), b)
    return chosen if out is None else out.copy_(chosen)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": torch.div,
    "neg": torch.neg,
    "abs": torch.abs,
    "sqrt": exact_sqrt,
    "finite_or_zero": finite_or_zero,
    "stored": stored,
    "upper_half": upper_half,
    "lower_half": lower_half,
    "from_halves": from_halves,
    "where": torch.where,
    "<": torch.lt,
    "<=": torch.le,
    ">": torch.gt,
    ">=": torch.ge,
    "==": torch.eq,
    "!=": torch.ne,
    "sum": total_of_rows,  # that over elements is between passes
    "copy": torch.clone,
}
CONDITIONS = frozenset(FUNCTIONS[op] for op in COMPARISONS)
COMPOSITES = ("sign", "cube_root", "maximum", "minimum")


@dataclass(frozen=True, eq=False)
class Operations:
    """One pass or fold of a rule as a graph; ``node.meta["per"]`` is the `Expr.per` of its nodes.

    The graph takes the scalars, the sizes, the values ``received`` from earlier passes and folds
    and random signs, the arrays (in a pass those of the parameter's shape, the gradient last; in a
    fold the smaller ones), and ``constants``. It returns the new values of the arrays at the
    positions ``written``; then what a pass's ``sums`` add up, or the values of a fold's
    ``crossings``.
    """

    graph: fx.Graph
    in_pass: bool
    received: tuple[Expr, ...]
    arrays: tuple[fx.Node, ...]
    constants: tuple[float, ...]
    written: tuple[int, ...]
    sums: tuple[Expr, ...]
    crossings: tuple[Expr, ...]

    @property
    def results(self) -> tuple[fx.Node, ...]:
        """The nodes of what the graph returns."""
        found: tuple[fx.Node, ...] = next(iter(reversed(self.graph.nodes))).args[0]
        return found


@kept
def operations(rule: Rule, kind: str, k: int, scaled: bool, storage: torch.dtype) -> Operations:
    """Return the operations of the ``k``-th "pass" or "fold", for parameters that are stored in
    ``storage``. ``scaled``: the gradient is first multiplied by the scalar ``grad_coefficient``."""
    traced = program(rule)
    in_pass = kind == "pass"
    step = (traced.passes if in_pass else traced.folds)[k]
    names = traced.small
    if in_pass:
        names = (*(name for name in traced.elements if name != "grad"), "grad")
    received = [node for node in step.received if node.op != "size"]  # every graph has them
    received += [node for node in step.nodes if node.op == "random_signs"]
    scalars = {n: Expr("scalar", (), "scalar", n) for n in (*traced.scalars, COEFFICIENT)}
    arrays = {n: Expr("input", (), rule.per.get(n, "element"), n) for n in names}
    sizes = [node for node in traced.asked if node.op == "size"]

    given = dict(arrays)
    if scaled and in_pass:
        given["grad"] = Expr("*", (scalars[COEFFICIENT], arrays["grad"]), "element")
    known = {id(node): node for node in (*sizes, *received)}
    known |= {key: arrays[name] for key, name in step.reloaded}
    known |= {id(n): scalars[str(n.name)] for n in step.nodes if n.op == "scalar"}
    known |= {id(n): given[str(n.name)] for n in step.nodes if n.op == "input"}
    _break_up(step, known)

    stores = [(n, e) for n, e in step.stores if not (e.op == "input" and e.name == n)]
    results = [e for _, e in stores] + [s.args[0] for s in step.sums] + list(step.crossings)
    overwritten = {id(arrays[name]) for name, _ in stores}
    roots = [
        Expr("copy", (value,), value.per) if id(value) in overwritten else value
        for value in (known[id(e)] for e in results)
    ]
    inputs = [*scalars.values(), *sizes, *received, *arrays.values()]
    graph, constants = _graph(inputs, roots, storage)
    nodes = list(graph.nodes)
    first = len(inputs) - len(names)
    return Operations(
        graph=graph,
        in_pass=in_pass,
        received=tuple(received),
        arrays=tuple(nodes[first : len(inputs)]),
        constants=constants,
        written=tuple(names.index(name) for name, _ in stores),
        sums=step.sums,
        crossings=step.crossings,
    )


class _SingleOperations(Vocabulary):
    """``xp`` that defines the composites: what they compare and choose are nodes."""

    def sqrt(self, x: Any) -> Any:
        return operation("sqrt", x)

    def finite_or_zero(self, x: Any) -> Any:
        return operation("finite_or_zero", x, 0.0)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        numbers = [arg.value for arg in condition.args if arg.op == "constant"]
        if len(numbers) == 2:  # known already, as in maximum(x, 0)
            compare = getattr(operator, FUNCTIONS[condition.op].__name__)
            return a if compare(*numbers) else b
        return operation("where", condition, a, b)


def _break_up(step: Step, known: dict[int, Expr]) -> None:
    """Add to ``known``, by the ids of the step's nodes, nodes of single operations."""
    for node in step.nodes:
        if id(node) in known:
            continue
        args = [known[id(arg)] for arg in node.args]
        if node.op in COMPOSITES:
            known[id(node)] = getattr(_SingleOperations(), node.op)(*args)
        elif node.op == "total":  # a sum that is complete
            known[id(node)] = args[0]
        elif node.op == "finite_or_zero":
            known[id(node)] = operation(node.op, *args, 0.0)
        else:
            known[id(node)] = Expr(node.op, tuple(args), node.per, value=node.value)


def _graph(
    inputs: list[Expr], roots: list[Expr], storage: torch.dtype
) -> tuple[fx.Graph, tuple[float, ...]]:
    """Return the graph from ``inputs``, behind which come the constants, to ``roots``; and the
    constants. ``storage`` is what parameters are stored in."""
    graph = fx.Graph()
    nodes: dict[int, fx.Node] = {}
    for leaf in inputs:
        nodes[id(leaf)] = graph.placeholder(f"in_{len(nodes)}")
    needed = reachable(roots, lambda node: id(node) in nodes)
    constants = [node for node in needed if node.op == "constant"]
    for leaf in constants:
        nodes[id(leaf)] = graph.placeholder(f"in_{len(nodes)}")
    for node in needed:
        if id(node) not in nodes:
            args: list[Any] = [nodes[id(arg)] for arg in node.args]
            args += [storage] if node.op == "stored" else []
            nodes[id(node)] = graph.call_function(FUNCTIONS[node.op], tuple(args))
        nodes[id(node)].meta["per"] = node.per
    graph.output(tuple(nodes[id(root)] for root in roots))
    return graph, tuple(node.value for node in constants)
