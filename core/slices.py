"""Gradients of some rows: what they are, and which rules can do with them.

A step by such a gradient runs the rule's own text on the rows that are named, and leaves all others
as they are. That is the step of a dense gradient, zero elsewhere, if the rule does nothing where
the gradient is zero; for other rules it is another algorithm, called lazy, and has to be asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .program import reachable
from .rule import Rule
from .trace import Expr, trace_update

ZERO = Expr("constant", (), "scalar", value=0.0)
OF_ZERO = frozenset({"/", "neg", "abs", "sqrt", "sign"})  # zero if the first operand is


@dataclass(frozen=True, eq=False)
class IndexedSlices:
    """A gradient that is zero but for some rows: the name and the arguments are TensorFlow's.

    Parameters
    ----------
    values : array, (k, ...)
        What ``param[indices]`` has the shape of; of the dtypes that a dense gradient may have.
    indices : array of integers, (k,)
        Positions along the parameter's first axis, in any order, from 0. Values of a row that is
        named several times are added up.
    """

    values: Any
    indices: Any


def coalesced(slices: IndexedSlices) -> IndexedSlices:
    """Copies in which rows ascend and each is named once. Values of one row are added in pairs of
    neighbours, in the order they came, then pairs of pairs, and so on; in their own dtype."""
    count = len(slices.indices)
    order = np.argsort(slices.indices * count + np.arange(count))  # faster than a stable sort
    indices, values = slices.indices[order], slices.values[order]
    with np.errstate(over="ignore", invalid="ignore"):
        while (again := indices[1:] == indices[:-1]).any():
            first = np.flatnonzero(np.append(True, ~again))
            counts = np.diff(np.append(first, len(indices)))
            odd = (np.arange(len(indices)) - np.repeat(first, counts)) % 2 == 1
            values[np.flatnonzero(odd) - 1] += values[odd]
            indices, values = indices[~odd], values[~odd]
    return IndexedSlices(values, indices)


def check_rule(
    name: str, rule: Rule, clips: Sequence[str], scalars: Mapping[str, Any], lazy: bool
) -> None:
    """Raise TypeError, naming the parameter, if this rule, or clipping its gradient by norm, cannot
    go by some rows. Clipped by value, zero is still zero."""
    reducing = any(node.op == "sum" for node in reachable(_graph(rule).values()))
    if reducing or "clip_norm" in clips:
        raise TypeError(
            f"the gradient of {name} is sparse, of some rows; {rule.name if reducing else clips[-1]} "
            "adds up over all of the parameter and needs a dense one"
        )
    if not lazy and not rests(rule, scalars):
        raise TypeError(
            f"the gradient of {name} is sparse, of some rows; {rule.name} with these "
            "hyperparameters changes rows whose gradient is zero, too. Give a dense one, or leave "
            "such rows as they are: with lazy=True, or by SparseAdam"
        )


def rests(rule: Rule, scalars: Mapping[str, Any]) -> bool:
    """Whether a step with these scalars leaves parameter and state as they are where the gradient
    is zero. Found in the rule's text: zero times a number is zero, a number plus zero is itself."""
    outputs = _graph(rule)
    equals: dict[int, Expr] = {}
    for node in reachable(outputs.values()):
        equals[id(node)] = _where_grad_is_zero(node, [equals[id(a)] for a in node.args], scalars)
    return all(equals[id(e)].op == "input" and equals[id(e)].name == n for n, e in outputs.items())


def _where_grad_is_zero(node: Expr, args: list[Expr], scalars: Mapping[str, Any]) -> Expr:
    """What a node is equal to: zero, one of its operands, or nothing but itself."""
    zeros = [arg is ZERO for arg in args]
    if node.op == "input":
        return ZERO if node.name == "grad" else node
    if node.op == "scalar":
        return ZERO if scalars[str(node.name)] == 0 else node
    if (node.op in OF_ZERO and zeros[0]) or (node.op == "*" and any(zeros)):
        return ZERO
    if node.op in ("+", "-") and zeros[1]:
        return args[0]
    if node.op == "+" and zeros[0]:
        return args[1]
    return node


@functools.cache
def _graph(rule: Rule) -> dict[str, Expr]:
    return trace_update(rule)[0]
