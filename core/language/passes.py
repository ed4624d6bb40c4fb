"""The passes of a traced rule, which printers write out.

A reduction over elements is a pass boundary: its result is known only after every element was
seen. The kernel is split there, and what a later pass needs is computed again from the inputs
instead of being stored. ``folds[k]`` stands before ``passes[k]``: for each tensor it finishes the
sums of earlier passes and computes what exists per tensor, row or column and is known by then;
what element code or a later fold needs *crosses* over in small buffers. The last fold, behind the
last pass, writes the state that is smaller than the parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..pages import see
from .blocks import THIN, WHOLE
from .blockwise import BLOCKWISE
from .kept import kept
from .matrix_functions import FUNCTIONS
from .rounding import KEY
from .rule import Rule
from .tracer import COMPARISONS, LEAVES, REDUCTIONS, Expr, trace_scalars, trace_update


@dataclass(frozen=True)
class Step:
    """One pass or fold: ``nodes`` to compute in this order, then ``stores`` and ``sums``, by which
    all reductions are meant, maxima too.

    ``loads`` are the arrays read. ``reloaded`` (node id to array) are results that an earlier
    pass has already stored; ``received`` are the sums and the values of earlier folds that it uses.
    In a fold, ``crossings`` are what it hands on and ``finished`` the sums first known there.
    """

    nodes: tuple[Expr, ...]
    loads: tuple[str, ...]
    stores: tuple[tuple[str, Expr], ...] = ()
    sums: tuple[Expr, ...] = ()
    crossings: tuple[Expr, ...] = ()
    reloaded: tuple[tuple[int, str], ...] = ()
    received: tuple[Expr, ...] = ()
    finished: tuple[Expr, ...] = ()

    @property
    def roots(self) -> tuple[Expr, ...]:
        """The nodes that the step computes the others for."""
        stored = tuple(expr for _, expr in self.stores)
        return stored + tuple(s.args[0] for s in self.sums) + self.crossings


@dataclass(frozen=True)
class Program:
    """A rule as passes over elements and folds between them.

    ``arrays`` are the full-size arrays (param, grad, states), each state with the array of its
    scales behind it where a codec has blocks; ``small`` are the smaller states; the position of a
    node in ``sums`` or ``crossings`` is its slot. ``asked`` are the reductions, sizes and random
    signs that the text asks for, needed or not. In a ``matrix`` program the parameter is seen as a
    matrix: rows or columns are reduced or kept, and a sum over the tensor is that of the sums of
    its rows. ``text_matrix``: so it is by the text, if that is run as it is.
    """

    rule: Rule
    scalars: tuple[str, ...]
    arrays: tuple[str, ...]
    small: tuple[str, ...]
    sums: tuple[Expr, ...]
    crossings: tuple[Expr, ...]
    passes: tuple[Step, ...]
    folds: tuple[Step, ...]
    asked: tuple[Expr, ...]
    matrix: bool
    text_matrix: bool

    @property
    def elements(self) -> tuple[str, ...]:
        """The arrays that have an element for each of the parameter's: all but scales."""
        return tuple(name for name in self.arrays if name not in self.rule.scales)

    @property
    def size_kinds(self) -> list[tuple[str, str]]:
        """The numbers of elements that the text asks for: for each the ``per`` of the value and
        that of its sum."""
        return [node.value for node in self.asked if node.op == "size"]

    @property
    def launches(self) -> tuple[tuple[str, int], ...]:
        """The launches in the order they run, ("pass", k) or ("fold", k); folds with nothing to do
        are left out."""
        found = []
        for k, fold in enumerate(self.folds):
            if fold.crossings or fold.stores or any(n.per != "tensor" for n in fold.finished):
                found.append(("fold", k))
            if k < len(self.passes) and self.passes[k].roots:
                found.append(("pass", k))
        return tuple(found)

    @property
    def traffic(self) -> tuple[int, int]:
        """The numbers of arrays of the parameter's size that all passes read and write."""
        return (
            sum(len(step.loads) for step in self.passes),
            sum(len(step.stores) for step in self.passes),
        )


@kept
def program(rule: Rule) -> Program:
    """Trace ``rule`` and split it into passes."""
    graph = _Graph(rule)
    return Program(
        rule=rule,
        scalars=tuple(trace_scalars(rule)[0]) + KEY * rule.stochastic,
        arrays=graph.arrays,
        small=tuple(graph.small),
        sums=graph.sums,
        crossings=graph.crossings,
        passes=graph.passes,
        folds=tuple(graph.fold(k) for k in range(graph.last + 2)),
        asked=graph.asked,
        matrix=graph.matrix,
        text_matrix=graph.text_matrix,
    )


class _Graph:
    """The traced nodes of a rule, and the stage at which each of them is known."""

    def __init__(self, rule: Rule) -> None:
        outputs, asked = trace_update(rule)
        kinds = {n.value[1] if n.op == "size" else n.per for n in asked} | {*rule.per.values()}
        self.text_matrix = bool(kinds & {"row", "column"})
        if self.text_matrix:
            outputs, asked = trace_update(rule, along_rows=True)
        self.asked, self.storage = tuple(asked), rule.storage
        self.nodes = reachable(outputs.values())
        _refuse_matrix_functions(rule, self.nodes)
        _refuse_whole_states(rule)
        self.small = {n: e for n, e in outputs.items() if rule.per.get(n, "element") != "element"}
        self.full = {
            n: e
            for n, e in outputs.items()
            if n not in self.small and not (e.op == "input" and e.name == n)  # as it was
        }
        self.arrays = ("param", "grad", *(n for n in rule.arrays if n not in self.small))
        for name, expr in self.small.items():
            if expr.per not in (rule.per[name], "scalar"):
                raise TypeError(
                    f"rule {rule.name!r}: {name} is kept per {rule.per[name]}, "
                    f"but update returns one value per {expr.per}"
                )
        self.stage: dict[int, int] = {}
        for node in self.nodes:
            stage = max((self.stage[id(arg)] for arg in node.args), default=0)
            self.stage[id(node)] = stage + reduces_elements(node)
        self.sums = tuple(n for n in self.nodes if reduces_elements(n))
        of_elements = [*self.full.values(), *(n.args[0] for n in self.sums)]
        self.last = max((self.stage[id(n)] for n in of_elements), default=0)
        crossings = [n for n in self.nodes if self._is_used_by_elements(n)]
        self.crossings = tuple(self._kept(crossings))
        self.matrix = self.text_matrix and bool(self.sums or self.crossings or self.small)
        in_blocks = any(rule.storage.get(name) in BLOCKWISE for name in self.full)
        if self.matrix and in_blocks and any(self.stage[id(n)] > self.last for n in self.sums):
            self.last += 1  # blocks cross tiles: a pass that stores them sums nothing
        self.passes = self._element_passes()

    def _is_used_by_elements(self, node: Expr) -> bool:
        if node.per in ("element", "scalar"):
            return False
        used = any(n.per == "element" and any(a is node for a in n.args) for n in self.nodes)
        return used or any(expr is node for expr in self.full.values())

    def _kept(self, crossings: list[Expr]) -> list[Expr]:
        """Return ``crossings`` and what else folds keep for each other: vectors that have a
        statement of their own, and their sums."""
        stores = tuple(self.small.items())
        nodes = reachable([*crossings, *self.small.values()], reduces_elements)
        every = Step(tuple(nodes), (), stores=stores, crossings=tuple(crossings))
        totals = [n for n in nodes if n.op == "sum" and not reduces_elements(n)]
        kept = {id(n) for n in statements(every) if n.per in ("row", "column")}
        kept |= {id(n) for n in (*crossings, *totals, *(n.args[0] for n in totals))}
        sums = {id(n) for n in self.sums if n.per != "tensor"}  # where passes have put them
        return [n for n in nodes if id(n) in kept - sums or any(n is c for c in crossings)]

    def _element_passes(self) -> tuple[Step, ...]:
        """Return the passes. Each array is written by the last pass, or as soon as its new value is
        known if later passes can then read that instead of recomputing it and so move fewer bytes.
        The parameter and what a codec stores come last in any case: their storage rounds."""
        late = dict.fromkeys(self.full, self.last)
        exact = [n for n in self.full if n != "param" and n not in self.storage]
        early = late | {n: self.stage[id(self.full[n])] for n in exact}
        first, second = (
            tuple(self._element_pass(k, stored_in) for k in range(self.last + 1))
            for stored_in in (early, late)
        )
        if self._reads_overwritten(first, early) or _arrays_read(first) >= _arrays_read(second):
            return second
        return first

    def _reads_overwritten(self, passes: Iterable[Step], stored_in: dict[str, int]) -> bool:
        """Return true if a pass needs an array as it was before an earlier pass stored it."""
        return any(
            stored_in.get(str(n.name), k) < k and id(n) not in dict(step.reloaded)
            for k, step in enumerate(passes)
            for n in self._needed(step.roots, dict(step.reloaded))
            if n.op == "input" and n.per == "element"
        )

    def _needed(self, roots: Iterable[Expr], reloaded: dict[int, str]) -> list[Expr]:
        """Return the nodes that an element pass needs for ``roots``, down to what it is given."""
        return reachable(roots, lambda n: id(n) in reloaded or n.per in ("tensor", "row", "column"))

    def _element_pass(self, k: int, stored_in: dict[str, int]) -> Step:
        reloaded = {id(e): name for name, e in self.full.items() if stored_in[name] < k}
        stores = tuple((n, e) for n, e in self.full.items() if stored_in[n] == k)
        sums = tuple(s for s in self.sums if self.stage[id(s)] == k + 1)
        roots = [e for _, e in stores] + [s.args[0] for s in sums]
        nodes = self._needed(roots, reloaded)
        read = {
            reloaded.get(id(n), n.name)
            for n in nodes
            if id(n) in reloaded or (n.op == "input" and n.per == "element")
        }
        return Step(
            nodes=tuple(n for n in nodes if n.per in ("element", "scalar")),
            loads=tuple(name for name in self.arrays if name in read),
            stores=stores,
            sums=sums,
            reloaded=tuple(reloaded.items()),
            received=tuple(n for n in nodes if any(n is c for c in self.crossings)),
        )

    def fold(self, k: int) -> Step:
        """Return the fold that stands before pass ``k``."""
        crossings = tuple(c for c in self.crossings if self.stage[id(c)] == k)
        earlier = {id(c) for c in self.crossings if self.stage[id(c)] < k}
        stores = tuple(self.small.items()) if k == self.last + 1 else ()

        def is_given(node: Expr) -> bool:
            return reduces_elements(node) or id(node) in earlier

        nodes = reachable([*crossings, *(e for _, e in stores)], is_given)
        computed = [n for n in nodes if not is_given(n)]
        return Step(
            nodes=tuple(computed),
            loads=tuple(str(n.name) for n in computed if n.op == "input"),
            stores=stores,
            crossings=crossings,
            received=tuple(n for n in nodes if is_given(n)),
            finished=tuple(s for s in self.sums if self.stage[id(s)] == k),
        )


def _refuse_matrix_functions(rule: Rule, nodes: Iterable[Expr]) -> None:
    for node in nodes:
        if node.op in FUNCTIONS:
            raise ValueError(
                f"rule {rule.name!r} calls xp.{node.op}, which multiplies whole matrices, and printed "
                "source has no product of matrices; it runs in an Optimizer, on every backend"
                f"{see('howto/rule.md#functions-of-whole-matrices')}"
            )


def _refuse_whole_states(rule: Rule) -> None:
    for name, per in rule.per.items():
        if per in WHOLE:
            kind = "thin" if per in THIN else "square"
            raise TypeError(
                f"rule {rule.name!r} keeps the {kind} state {name}, per {per}, but calls no function of "
                f"whole matrices, which is what such a state is for{see('howto/rule.md')}"
            )


def _arrays_read(passes: Iterable[Step]) -> int:
    return sum(len(step.loads) for step in passes)


def reduces_elements(node: Expr) -> bool:
    """Return true for a reduction over elements, which is known only after a pass over all of
    them."""
    return node.op in REDUCTIONS and node.args[0].per == "element"


def reachable(roots: Iterable[Expr], stop: Callable[[Expr], bool] | None = None) -> list[Expr]:
    """Return all nodes below ``roots`` in the order of the rule's text; not those below a node that
    ``stop`` is true for."""
    found: dict[int, Expr] = {}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) not in found:
            found[id(node)] = node
            if stop is None or not stop(node):
                stack += node.args
    return sorted(found.values(), key=lambda node: node.serial)


def statements(step: Step) -> list[Expr]:
    """Return the nodes of ``step`` that get a statement of their own in printed source: those that
    the rule's text bound to a name, those used more than once, and vectors that are summed. The
    rest are written in place."""
    given = {id_ for id_, _ in step.reloaded}
    summed = {id(n.args[0]) for n in step.nodes if n.op == "sum" and not reduces_elements(n)}
    uses: dict[int, int] = {}
    for node in step.nodes:
        if id(node) not in given:
            for arg in node.args:
                uses[id(arg)] = uses.get(id(arg), 0) + 1
    for root in step.roots:
        uses[id(root)] = uses.get(id(root), 0) + 1
    return [
        node
        for node in step.nodes
        if node.op not in LEAVES
        and id(node) not in given
        and (node.name is not None or uses[id(node)] > 1 or id(node) in summed)
        and node.op not in COMPARISONS
    ]
