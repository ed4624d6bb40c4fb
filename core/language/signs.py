"""Signs of states: those that a rule's update never makes negative, by its graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .kept import kept
from .scalars import as_numbers, next_scalars
from .tracer import Expr, trace_update

# A sign: 1 of what is never negative, -1 of what is never positive, 0 of what may be both.
OPERATIONS: dict[str, Callable[..., int]] = {
    "+": lambda a, b: a if a == b else 0,
    "-": lambda a, b: a if a == -b else 0,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a * b,
    "neg": lambda a: -a,
    "abs": lambda a: 1,
    "sqrt": lambda a: 1,
    "cube_root": lambda a: 1,
    "maximum": max,
    "minimum": min,
    "where": lambda condition, a, b: a if a == b else 0,
    "size": lambda: 1,
}
KEEP_THE_SIGN = ("sign", "finite_or_zero", "stored", "sum", "total", "largest")


@kept
def never_negative(rule: Any) -> frozenset[str]:
    """Return the states of a `Rule`, which may be in the making, that are proved never to be
    negative.

    By induction: the states are taken to be so before a step, and those that may be negative after
    it are left out, until none is. Scalars have the signs that they have with the default
    hyperparameters at steps 1 and 2. What the rule's ``hessian_rule`` may make negative is left
    out, too.
    """
    outputs, _ = trace_update(rule)
    scalars = _scalar_signs(rule)
    initial = {name: rule.initial.get(name, 0) for name in rule.state}
    starts = {n: rule.defaults[v] if isinstance(v, str) else v for n, v in initial.items()}
    proved = frozenset(name for name, start in starts.items() if start >= 0)
    if (other := rule.hessian_rule) is not None:
        proved -= {*other.state} - never_negative(other)
    while True:
        signs: dict[int, int] = {}
        left = frozenset(n for n in proved if _sign(outputs[n], scalars, proved, signs) == 1)
        if left == proved:
            return proved
        proved = left


def _scalar_signs(rule: Any) -> dict[str, int]:
    hyper, carry, rows = as_numbers(rule.defaults), dict(rule.carry), []
    for steps in range(2):
        row, carry = next_scalars(rule, steps, carry, hyper)
        rows.append(row)
    return {name: _of_numbers(*(row[name] for row in rows)) for name in rows[0]}


def _of_numbers(*numbers: float) -> int:
    return 1 if min(numbers) >= 0 else -1 if max(numbers) <= 0 else 0


def _sign(
    node: Expr, scalars: dict[str, int], proved: frozenset[str], known: dict[int, int]
) -> int:
    """Return the sign of a node, the states that are ``proved`` not being negative."""
    if id(node) not in known:
        if node.op == "input":
            known[id(node)] = int(node.name in proved)
        elif node.op == "scalar":
            known[id(node)] = scalars[str(node.name)]
        elif node.op == "constant":
            known[id(node)] = _of_numbers(node.value)
        elif node.op == "*" and node.args[0] is node.args[1]:
            known[id(node)] = 1
        else:
            parts = [_sign(arg, scalars, proved, known) for arg in node.args]
            known[id(node)] = _of_operation(node.op, parts)
    return known[id(node)]


def _of_operation(op: str, parts: list[int]) -> int:
    if op in KEEP_THE_SIGN:
        return parts[0]
    return OPERATIONS[op](*parts) if op in OPERATIONS else 0
