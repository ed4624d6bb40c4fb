"""The rule's text as graphs of PyTorch's operations: the arithmetic up to the next sum, or to the
end.

PyTorch's symbolic tracing runs the text with stand-ins for the tensors. Every number that changes
from step to step is an input, and so is every constant: PyTorch would give it its default dtype
and compute ``3 / x`` as ``3 * reciprocal(x)``, its compiler would simplify ``0 + x`` to ``x``, which
is not the same for -0, and divide by a number in ways of its own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import fx

from ...language.passes import program
from ...language.rule import Rule
from ...language.vocabulary import Vocabulary


class _SumReachedError(Exception):
    """Raised in the middle of the text: what comes next needs a sum over all blocks."""


class _Recorder(Vocabulary):
    """``xp`` that records torch's operations; the first sums and all sizes are inputs."""

    def __init__(self, graph: fx.Graph, names: tuple[str, ...]) -> None:
        self.graph, self.tracer = graph, fx.proxy.GraphAppendingTracer(graph)
        self.inputs = {
            name: fx.Proxy(graph.placeholder(f"in_{k}"), self.tracer)
            for k, name in enumerate(names)
        }
        self.last_input = self.inputs[names[-1]].node
        self.constants: list[float] = []
        self.sums = self.sizes = 0
        self.per, self.summand = "", self.inputs[names[-1]]

    def sqrt(self, x: Any) -> Any:
        return torch.sqrt(self.typed(x))

    def abs(self, x: Any) -> Any:
        return torch.abs(self.typed(x))

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, bool):  # of two numbers, as in maximum(x, 0)
            return self.typed(a if condition else b)
        return torch.where(condition, self.typed(a), self.typed(b))

    def typed(self, x: Any) -> Any:
        """A number as an input, a tensor of the compute dtype."""
        if isinstance(x, fx.Proxy):
            return x
        self.constants.append(float(x))
        with self.graph.inserting_after(self.last_input):
            self.last_input = self.graph.placeholder(f"constant_{len(self.constants) - 1}")
        return fx.Proxy(self.last_input, self.tracer)

    def numbers_become_inputs(self) -> None:
        for node in [node for node in self.graph.nodes if node.op == "call_function"]:
            node.args = tuple(
                self.typed(arg).node if isinstance(arg, int | float) else arg for arg in node.args
            )

    def sum(self, x: Any, per: str = "tensor") -> Any:
        name, self.sums = f"sum {self.sums}", self.sums + 1
        if name in self.inputs:
            return self.inputs[name]
        self.per, self.summand = per, x
        raise _SumReachedError

    def size(self, x: Any, per: str = "tensor") -> Any:
        name, self.sizes = f"size {self.sizes}", self.sizes + 1
        return self.inputs[name]


@dataclass(frozen=True, eq=False)
class Text:
    """The arithmetic of one pass. ``graph`` takes scalars, sizes, the sums that are known, param,
    grad, state and the rule's ``constants``; ``pers`` says of each but the constants how many of
    it there are. Where ``per`` says something, it returns what is to be summed so. Where it is
    empty, it returns the new values of what changes: first what is ``written``, as large as the
    parameter, then the ``smaller``, both as positions in ``(param, *state)``."""

    graph: fx.Graph
    constants: tuple[float, ...]
    pers: tuple[str, ...]
    per: str
    written: tuple[int, ...] = ()
    smaller: tuple[int, ...] = ()

    @property
    def arrays(self) -> list[fx.Node]:
        """The inputs ``(param, *state)``."""
        inputs = list(self.graph.nodes)[: len(self.pers)]
        first = self.pers.index("element")  # the parameter; the gradient is the next
        return [inputs[first], *inputs[first + 2 :]]

    @property
    def results(self) -> tuple[fx.Node, ...]:
        """What the graph returns."""
        found: tuple[fx.Node, ...] = next(iter(reversed(self.graph.nodes))).args[0]
        return found


def sums_of(rule: Rule) -> tuple[str, ...]:
    """Per what the text sums, in its order: each sum ends a pass."""
    return tuple(node.per for node in program(rule).asked if node.op == "sum")


@functools.cache
def text_of_pass(rule: Rule, scalars: tuple[str, ...], known: int, scaled: bool) -> Text:
    """What the text computes once the first ``known`` sums are. ``scaled``: the gradient is first
    multiplied by the scalar ``grad_coefficient``."""
    # a scalar may be called as an array is, but neither with a blank or a dot
    pers = {f"s.{name}": "scalar" for name in scalars}
    pers |= {f"size {k}": "scalar" for k in range(len(program(rule).size_kinds))}
    pers |= {f"sum {k}": per for k, per in enumerate(sums_of(rule)[:known])}
    pers |= dict.fromkeys(("param", "grad"), "element")
    pers |= {name: rule.per.get(name, "element") for name in rule.state}
    graph = fx.Graph()
    xp = _Recorder(graph, tuple(pers))
    s = SimpleNamespace(**{name: xp.inputs[f"s.{name}"] for name in scalars})
    grad = s.grad_coefficient * xp.inputs["grad"] if scaled else xp.inputs["grad"]
    old = [xp.inputs[name] for name in ("param", *rule.state)]
    try:
        results = rule.update(xp, s, old[0], grad, *old[1:])
    except _SumReachedError:
        return _text(xp, [xp.summand], pers, xp.per)
    results = results if isinstance(results, tuple) else (results,)
    changed = [k for k, value in enumerate(results) if value is not old[k]]
    small = [name in rule.per for name in ("param", *rule.state)]
    written = tuple(k for k in changed if not small[k])
    smaller = tuple(k for k in changed if small[k])
    # an old value may be another array's new one, and is overwritten
    new = [_copied(xp.typed(results[k]), old) for k in (*written, *smaller)]
    return _text(xp, new, pers, "", written, smaller)


def _text(xp: _Recorder, results: list[Any], pers: dict[str, str], *rest: Any) -> Text:
    xp.graph.output(tuple(value.node for value in results))
    xp.numbers_become_inputs()
    xp.graph.eliminate_dead_code()
    return Text(xp.graph, tuple(xp.constants), tuple(pers.values()), *rest)


def _copied(value: Any, old: list[Any]) -> Any:
    return value.clone() if any(value is other for other in old) else value
