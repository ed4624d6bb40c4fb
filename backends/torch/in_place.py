"""A pass of the rule's text operation by operation, in memory that is there already.

An operation writes where a value was that is not needed any more, or into a buffer, and a new
value, where it can, over the old one. So there are no temporaries to allocate, few to hold in the
caches, and nothing to copy at the end. An operation that fails (no memory) leaves a slice half updated.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from .text import Text

Tensor = torch.Tensor


def exact_sqrt(x: Tensor, out: Tensor | None = None) -> Tensor:
    """The correctly rounded square root. PyTorch's own is not, on the host: 0.6 % of the float32
    results differ in the last bit."""
    if not x.is_cpu:
        return torch.sqrt(x, out=out)
    result = torch.empty_like(x) if out is None else out
    np.sqrt(x.numpy(), out=result.numpy())
    return result


OPERATIONS: dict[Any, Callable[..., Tensor]] = {
    operator.add: torch.add,
    operator.sub: torch.sub,
    operator.mul: torch.mul,
    operator.truediv: torch.div,
    operator.neg: torch.neg,
    operator.abs: torch.abs,
    torch.abs: torch.abs,
    torch.sqrt: exact_sqrt,
    torch.where: torch.where,
    operator.lt: torch.lt,
    operator.le: torch.le,
    operator.gt: torch.gt,
    operator.ge: torch.ge,
    operator.eq: torch.eq,
    operator.ne: torch.ne,
}
CONDITIONS = {torch.lt, torch.le, torch.gt, torch.ge, torch.eq, torch.ne}


@dataclass(frozen=True)
class InPlace:
    """``function`` takes what the text's graph takes, then so many ``buffers`` of the compute dtype
    and ``conditions`` of bool, all of the parameter's shape. Of what has changed it overwrites what
    is as large as the parameter, and returns what is smaller; or it returns a sum's argument.
    ``operations`` are those on as many elements as the parameter has, ``accesses`` the arrays that
    they read and write."""

    function: Callable[..., tuple[Tensor, ...]]
    buffers: int
    conditions: int
    operations: int
    accesses: int


class Buffers:
    """Memory for some passes, on blocks of any shape of at most so many ``elements``."""

    def __init__(
        self, passes: Sequence[InPlace], elements: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.passes = passes
        self.floats, self.bools = (
            [torch.empty(elements, dtype=kind, device=device) for _ in range(count)]
            for kind, count in (
                (dtype, max(each.buffers for each in passes)),
                (torch.bool, max(each.conditions for each in passes)),
            )
        )
        self.seen: dict[tuple[int, torch.Size], list[Tensor]] = {}

    def of(self, k: int, shape: torch.Size) -> list[Tensor]:
        """What pass ``k`` needs."""
        found = self.seen.get((k, shape))
        if found is None:
            used = self.floats[: self.passes[k].buffers] + self.bools[: self.passes[k].conditions]
            found = [memory[: shape.numel()].view(shape) for memory in used]
            self.seen[k, shape] = found
        return found


@functools.cache
def in_place(text: Text) -> InPlace:
    """The pass as PyTorch's operations, each with a place for its result."""
    places = _Places(text)
    graph = fx.Graph()
    copies = {n: graph.node_copy(n) for n in text.graph.nodes if n.op == "placeholder"}
    memory: dict[Any, fx.Node] = {k: copies[node] for k, node in enumerate(places.old)}
    for kind, count in places.made.items():
        memory |= {(kind, i): graph.placeholder(f"{kind}_{i}") for i in range(count)}
    operations = accesses = 0
    for node in text.graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        args = tuple(copies[arg] for arg in node.args)
        if node.op == "call_method":
            copies[node] = graph.call_method(node.target, args)
        else:
            out: dict[str, Any] = {"out": memory[places.of[node]]} if node in places.of else {}
            copies[node] = graph.call_function(OPERATIONS[node.target], args, out)
        operations += node in places.large
        accesses += len(places.large.intersection((node, *node.all_input_nodes)))
    for k, value in places.copied.items():
        graph.call_method("copy_", (memory[k], copies[value]))
        operations, accesses = operations + 1, accesses + 1 + (value in places.large)
    graph.output(tuple(copies[value] for value in text.results[len(text.written) :]))
    return InPlace(
        fx.GraphModule({}, graph).forward,
        buffers=places.made["buffer"],
        conditions=places.made["condition"],
        operations=operations,
        accesses=accesses,
    )


class _Places:
    """Where each value that is as large as the parameter lives: ``of`` a value, the position in
    ``(param, *state)`` of what is overwritten, or a buffer."""

    def __init__(self, text: Text) -> None:
        nodes = list(text.graph.nodes)
        self.large = _large(text)
        self.old = text.arrays
        self.new = dict(zip(text.written, text.results, strict=False))
        self.copied = dict(self.new)  # in the end, unless they are made where they belong
        self.position = {node: i for i, node in enumerate(nodes)}
        self.last_use = _last_uses(self.position)
        self.of: dict[fx.Node, Any] = {self.old[k]: k for k in self.new}
        self.made = {"buffer": 0, "condition": 0}
        self.free: list[Any] = [k for k in self.new if not self.old[k].users]
        for node in nodes:
            if node.op == "call_function" and node in self.large:
                self.of[node] = self._place(node)
                self.free.remove(self.of[node])

    def _place(self, node: fx.Node) -> Any:
        for arg in node.all_input_nodes:  # an operation may write where it reads
            if arg in self.of and self.last_use[arg] == self.position[node]:
                self.free.append(self.of[arg])
        for k, value in self.copied.items():
            if value is node and k in self.free:
                del self.copied[k]
                return k
        kind = "condition" if OPERATIONS[node.target] in CONDITIONS else "buffer"
        for place in reversed(self.free):  # what was used last is in the caches
            if self._fits(node, kind, place):
                return place
        self.made[kind] += 1
        self.free.append((kind, self.made[kind] - 1))
        return self.free[-1]

    def _fits(self, node: fx.Node, kind: str, place: Any) -> bool:
        """A buffer of that kind; or the memory of an old value, until the new one comes."""
        if isinstance(place, tuple):
            return bool(place[0] == kind)
        return kind == "buffer" and self.last_use[node] <= self.position[self.new[place]]


def _last_uses(position: dict[fx.Node, int]) -> dict[fx.Node, int]:
    return {n: max((position[user] for user in n.users), default=0) for n in position}


def _large(text: Text) -> set[fx.Node]:
    """The values that exist per element."""
    pers: dict[fx.Node, set[str]] = {}
    given = iter((*text.pers, *("scalar" for _ in text.constants)))
    for node in text.graph.nodes:
        own = {next(given)} if node.op == "placeholder" else set()
        pers[node] = own.union(*(pers[arg] for arg in node.all_input_nodes))
    return {n for n, per in pers.items() if "element" in per or {"row", "column"} <= per}
