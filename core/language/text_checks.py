"""Checks of a rule's text, when an optimizer is made: every backend can run it, and it computes the
same on all, as far as that can be seen.

The reference runs the text, every other backend its trace. They differ if the text depends on
anything but the values of its arguments: on their type (``isinstance(param, np.ndarray)``), on
random numbers, or on how often it was called. Both are computed here for a few numbers. A number of
its module that changes later is noticed at the next step (`outside.py`). What cannot be seen: the
time of day, or what happens with values that these few do not have.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..interrupts import held
from .clipping import clipped
from .kept import kept
from .outside import constants
from .passes import program, reachable
from .places import place_of_error, place_of_function
from .results import as_tuple
from .rule import CLIPS, Rule
from .scalars import as_numbers, next_scalars
from .stages import stages
from .tracer import ARITHMETIC, COMPARISONS, Expr, trace_scalars, trace_update
from .vocabulary import IEEE, NumpyVocabulary

OPERATORS = {op: getattr(operator, name) for op, name in {**ARITHMETIC, **COMPARISONS}.items()}
SHAPES = {"element": (3, 4), "row": (3, 1), "column": (1, 4), "tensor": (1, 1)}
SHAPES |= {"row_pair": (3, 3), "column_pair": (4, 4), "row_rank": (3, 2), "column_rank": (4, 2)}
SHAPES |= {"longer_rank": (4, 2), "shorter_rank": (3, 2)}
AXIS = {"tensor": None, "row": 1, "column": 0}
STEPS = (0, 1, 40)  # taken before the step that is computed


def _numbers(shape: tuple[int, ...], k: int) -> Any:
    """Return numbers of either sign and below one, others for each ``k``."""
    return np.sin(np.arange(1, math.prod(shape) + 1) * (k + 1.3)).reshape(shape)


@kept
def check(rule: Rule) -> None:
    """Raise TypeError or ValueError for a rule that not every backend could run, clipped or not, or
    whose text gives other numbers than its trace."""
    constants(rule)
    clipped(rule, CLIPS)
    for stage in stages(rule).rules:
        program(stage)
    row, carry = trace_scalars(rule)
    update, _ = trace_update(rule)
    with held(), np.errstate(all="ignore"):
        for steps in STEPS:
            found, expected = _scalars(rule, steps, {**row, **carry})
            _compare(rule, "scalars", found, expected)
        given = {
            name: _numbers(SHAPES[rule.per.get(name, "element")], k)
            for k, name in enumerate(("param", "grad", *rule.state))
        }
        s = {name: abs(float(_numbers((), k))) for k, name in enumerate(row)}
        results = _called(
            rule, "update", rule.update, _Arrays(), SimpleNamespace(**s), *given.values()
        )
        expected = _values(update, given, _Arrays(), s)
        _compare(rule, "update", dict(zip(update, as_tuple(results), strict=True)), expected)


def _scalars(
    rule: Rule, steps: int, graph: Mapping[str, Expr]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row and the carry after a step with the default hyperparameters: of the text, and
    of the trace."""
    row, carry = _called(
        rule, "scalars", next_scalars, rule, steps, rule.carry, as_numbers(rule.defaults)
    )
    known = {"step": np.float64(steps + 1)}
    known |= {f"carry.{name}": np.float64(value) for name, value in rule.carry.items()}
    for name, value in rule.defaults.items():
        if isinstance(value, tuple):
            known |= {f"h.{name}[{i}]": np.float64(number) for i, number in enumerate(value)}
        else:
            known[f"h.{name}"] = np.float64(value)
    return {**row, **carry}, _values(graph, known, IEEE, {})


def _called(rule: Rule, what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call the text. Raise TypeError if it fails, which its trace did not."""
    try:
        return function(*args)
    except Exception as error:
        raise TypeError(
            f"rule {rule.name!r}: {what} can be traced but fails on "
            f"{'arrays' if what == 'update' else 'numbers'}: {error}{place_of_error(error)}"
        ) from error


def _compare(rule: Rule, what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        ours, traced = np.broadcast_arrays(np.float64(found[name]), np.float64(value))
        if not np.array_equal(ours, traced, equal_nan=True):
            raise TypeError(
                f"rule {rule.name!r}: {what} gives another {name} on numbers than its trace, which "
                f"other backends run{place_of_function(getattr(rule, what))}. It may depend on nothing but the values of its arguments: not on "
                "their type, on random numbers or on how often it was called. Let a hyperparameter "
                "say what changes from step to step, and an option what the text depends on"
            )


class _Arrays(NumpyVocabulary):
    """The vocabulary on float64 arrays of two axes. Sums have NumPy's order, on both sides."""

    def __init__(self) -> None:
        super().__init__(np.dtype(np.float64), np.dtype(np.float64))

    def sum(self, x: Any, per: str = "tensor") -> Any:
        return np.sum(x, axis=AXIS[per], keepdims=True)

    def max_abs(self, x: Any, per: str) -> Any:
        return np.max(np.abs(x), axis=AXIS[per], keepdims=True)

    def size(self, x: Any, per: str = "tensor") -> Any:
        return np.float64(x.size if per == "tensor" else x.shape[AXIS[per]])


def _values(
    graph: Mapping[str, Expr],
    inputs: Mapping[str, Any],
    xp: Any,
    scalars: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the values of a traced graph, from those of its leaves by their names: an input and a
    scalar may have the same."""
    values: dict[int, Any] = {}
    for node in reachable(graph.values()):
        args = [values[id(arg)] for arg in node.args]
        if node.op in ("input", "scalar"):
            value = (inputs if node.op == "input" else scalars)[str(node.name)]
        elif node.op == "constant":
            value = np.float64(node.value)
        elif node.op == "total":
            (value,) = args
        elif node.op == "sum":
            value = xp.sum(*args, node.per)
        elif node.op == "largest":
            value = xp.max_abs(*args, node.per)
        elif node.op == "size":
            value = xp.size(np.empty(SHAPES[node.value[0]]), node.value[1])
        elif node.op == "random_signs":
            value = xp.random_signs(np.empty(SHAPES["element"]), *args, node.per)
        elif node.op == "neg":
            value = -args[0]
        else:
            value = (OPERATORS.get(node.op) or getattr(xp, node.op))(*args)
        values[id(node)] = value
    return {name: values[id(node)] for name, node in graph.items()}
