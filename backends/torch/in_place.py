"""A pass operation by operation, in memory that is there already.

An operation writes where a value was that is not needed any more, or into a buffer, and a new
value, where it can, over the old one. So there are no temporaries to allocate, few to hold in the
caches, and nothing to copy at the end. An operation that fails (no memory) leaves a slice half
updated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from ...language.kept import kept
from .operations import CONDITIONS, Operations

Tensor = torch.Tensor
Place = Any  # the input that is an array's memory, or the dtype and number of a buffer
BUFFER, CONDITION = "buffer", "condition"  # of the compute dtype, and of bool


@dataclass(frozen=True)
class InPlace:
    """``function`` takes what the graph of `Operations` takes, then so many ``buffers`` of the
    compute dtype and ``conditions`` of bool, all of the parameter's shape. It overwrites the arrays
    that change, and returns the rest of the results."""

    function: Callable[..., tuple[Tensor, ...]]
    buffers: int = 0
    conditions: int = 0


class Buffers:
    """Memory for some passes, on blocks of any shape of at most so many ``elements``."""

    def __init__(
        self, passes: Sequence[InPlace], elements: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.passes = passes
        self.floats, self.bools = (
            [torch.empty(elements, dtype=each, device=device) for _ in range(count)]
            for each, count in (
                (dtype, max((each.buffers for each in passes), default=0)),
                (torch.bool, max((each.conditions for each in passes), default=0)),
            )
        )
        self.seen: dict[tuple[int, torch.Size], list[Tensor]] = {}

    def of(self, k: int, shape: torch.Size) -> list[Tensor]:
        """Return what pass ``k`` needs."""
        found = self.seen.get((k, shape))
        if found is None:
            used = self.floats[: self.passes[k].buffers] + self.bools[: self.passes[k].conditions]
            found = [memory[: shape.numel()].view(shape) for memory in used]
            self.seen[k, shape] = found
        return found


@kept
def in_place(operations: Operations) -> InPlace:
    """Return the operations with a place for each result that is as large as the parameter."""
    places = _Places(operations)
    graph = storing(operations, places.of, places.made)
    return InPlace(graph.forward, places.made[BUFFER], places.made[CONDITION])


def storing(
    operations: Operations, places: Mapping[fx.Node, Place], buffers: Mapping[str, int]
) -> fx.GraphModule:
    """Return the graph with results in their ``places``, new values stored over the old ones, and
    the rest returned. ``buffers`` says how many of each dtype there are; they are inputs."""
    graph = fx.Graph()
    copies = {n: graph.node_copy(n) for n in operations.graph.nodes if n.op == "placeholder"}
    memory: dict[Place, fx.Node] = {node: copies[node] for node in operations.arrays}
    for dtype, count in buffers.items():
        memory |= {(dtype, i): graph.placeholder(f"{dtype}_{i}") for i in range(count)}
    for node in operations.graph.nodes:
        if node.op == "call_function":
            copies[node] = graph.node_copy(node, copies.__getitem__)
            if node in places:
                copies[node].kwargs = {"out": memory[places[node]]}
    for array, value in _new_values(operations).items():
        if places.get(value) is not array:
            graph.call_method("copy_", (copies[array], copies[value]))
    graph.output(tuple(copies[value] for value in operations.results[len(operations.written) :]))
    return fx.GraphModule({}, graph)


def _new_values(operations: Operations) -> dict[fx.Node, fx.Node]:
    """Return the new value of each array that is written."""
    return {
        operations.arrays[k]: value
        for k, value in zip(operations.written, operations.results, strict=False)
    }


class _Places:
    """The place of each value that is as large as the parameter: ``of`` a node, the array that it
    overwrites, or a buffer; ``made`` counts the buffers."""

    def __init__(self, operations: Operations) -> None:
        nodes = list(operations.graph.nodes)
        self.new = _new_values(operations)
        self.unmade = dict(self.new)
        self.position = {node: i for i, node in enumerate(nodes)}
        self.last_use = _last_uses(self.position)
        self.of: dict[fx.Node, Place] = {array: array for array in self.new}
        self.made = {BUFFER: 0, CONDITION: 0}
        self.free: list[Place] = [array for array in self.new if not array.users]
        for node in nodes:
            takes_out = node.op == "call_function" and node.target is not torch.clone
            if takes_out and node.meta["per"] == "element":
                self.of[node] = self._place(node)
                self.free.remove(self.of[node])

    def _place(self, node: fx.Node) -> Place:
        for arg in node.all_input_nodes:  # an operation may write where it reads
            if arg in self.of and self.last_use[arg] == self.position[node]:
                self.free.append(self.of[arg])
        for array, value in self.unmade.items():
            if value is node and array in self.free:
                del self.unmade[array]
                return array
        dtype = CONDITION if node.target in CONDITIONS else BUFFER
        for place in reversed(self.free):  # what was used last is in the caches
            if self._fits(node, dtype, place):
                return place
        self.made[dtype] += 1
        self.free.append((dtype, self.made[dtype] - 1))
        return self.free[-1]

    def _fits(self, node: fx.Node, dtype: str, place: Place) -> bool:
        """Tell whether it is a buffer of that dtype; or an old value's memory, until the new one
        comes."""
        if isinstance(place, tuple):
            return bool(place[0] == dtype)
        return dtype == BUFFER and self.last_use[node] <= self.position[self.new[place]]


def _last_uses(position: dict[fx.Node, int]) -> dict[fx.Node, int]:
    return {n: max((position[user] for user in n.users), default=0) for n in position}
