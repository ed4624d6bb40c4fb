"""The rule's text as graphs for the compiler: the arithmetic up to the next sum, or to the end.

PyTorch's symbolic tracing runs the text with stand-ins for the tensors. Every number that changes
from step to step is an input, so nothing has to be compiled again.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import fx

from ...program import program
from ...rule import Rule
from .vocabulary import TorchVocabulary


class _SumReachedError(Exception):
    """Raised in the middle of the text: what comes next needs a sum over all blocks."""


class _Recorder(TorchVocabulary):
    """``xp`` that records torch's operations; the first sums and all sizes are inputs."""

    def __init__(
        self, dtype: torch.dtype, device: torch.device, graph: fx.Graph, names: tuple[str, ...]
    ) -> None:
        super().__init__(dtype, device)
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
        return torch.sqrt(self.typed(x))  # compiled code has the processor's own, which is exact

    def typed(self, x: Any) -> Any:
        if isinstance(x, fx.Proxy):
            return x
        self.constants.append(float(x))
        with self.graph.inserting_after(self.last_input):
            self.last_input = self.graph.placeholder(f"constant_{len(self.constants) - 1}")
        return fx.Proxy(self.last_input, self.tracer)

    def numbers_become_inputs(self) -> None:
        """The compiler would simplify 0 + x to x, which is not the same for -0, and divide by a
        number in ways of its own."""
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


@dataclass(frozen=True)
class Text:
    """The arithmetic of one pass. ``graph`` takes scalars, sizes, the sums that are known, param,
    grad, state and the rule's ``constants``. Where ``per`` says something, it returns what is to be summed so. Where it is empty, the graph overwrites the
    arrays ``written`` and returns the new values of those ``returned``, which are smaller than
    the parameter; both are positions in ``(param, *state)``."""

    graph: fx.GraphModule
    constants: tuple[float, ...]
    per: str
    written: tuple[int, ...] = ()
    returned: tuple[int, ...] = ()


def text_of_pass(
    rule: Rule, scalars: tuple[str, ...], known: int, dtype: torch.dtype, device: torch.device
) -> Text:
    """What the text computes once the first ``known`` sums are."""
    # a scalar may be called as an array is, but neither with a blank or a dot
    sizes = [f"size {k}" for k in range(len(program(rule).size_kinds))]
    sums = [f"sum {k}" for k in range(known)]
    names = (*(f"s.{name}" for name in scalars), *sizes, *sums, "param", "grad", *rule.state)
    graph = fx.Graph()
    xp = _Recorder(dtype, device, graph, names)
    s = SimpleNamespace(**{name: xp.inputs[f"s.{name}"] for name in scalars})
    grad = s.grad_coefficient * xp.inputs["grad"]
    old = [xp.inputs[name] for name in ("param", *rule.state)]
    try:
        results = rule.update(xp, s, old[0], grad, *old[1:])
    except _SumReachedError:
        graph.output((xp.summand.node,))
        xp.numbers_become_inputs()
        return Text(fx.GraphModule({}, graph), tuple(xp.constants), xp.per)
    results = results if isinstance(results, tuple) else (results,)
    changed = [k for k, value in enumerate(results) if value is not old[k]]
    # an old value may be another array's new one, and is overwritten
    new = {k: _copied(xp.typed(results[k]), old) for k in changed}
    small = [name in rule.per for name in ("param", *rule.state)]
    written = tuple(k for k in changed if not small[k])
    returned = tuple(k for k in changed if small[k])
    for k in written:
        graph.call_method("copy_", (old[k].node, new[k].node))
    graph.output(tuple(new[k].node for k in returned))
    xp.numbers_become_inputs()
    return Text(fx.GraphModule({}, graph), tuple(xp.constants), "", written, returned)


def _copied(value: Any, old: list[Any]) -> Any:
    return value.clone() if any(value is other for other in old) else value
