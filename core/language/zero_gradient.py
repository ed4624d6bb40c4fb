"""The effect of a rule where the gradient is zero, found in its traced text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..pages import see
from .around import COPY
from .blockwise import BLOCKWISE
from .kept import kept
from .matrix_functions import FUNCTIONS
from .passes import reachable
from .rule import Rule
from .tracer import REDUCTIONS, Expr, trace_update

ZERO = Expr("constant", (), "scalar", value=0.0)
# zero if the first operand is
OF_ZERO = frozenset({"/", "neg", "abs", "sqrt", "cube_root", "sign", "finite_or_zero", "stored"})


def check_rule(
    name: str,
    rule: Rule,
    clips: Sequence[str],
    scalars: Mapping[str, Any],
    lazy: bool,
    whole_rows: bool,
) -> None:
    """Raise TypeError, naming the parameter, if this rule, or clipping its gradient by norm, cannot
    go by some rows, or, without ``whole_rows``, by parts of rows. Clipped by value, zero is still
    zero."""
    reducing = any(
        _needs_the_parameter(node, whole_rows) for node in reachable(_graph(rule).values())
    )
    if reducing or "clip_norm" in clips:
        raise TypeError(
            f"the gradient of {name} is sparse, of some rows; {rule.name if reducing else clips[-1]} "
            f"adds up, compares or counts over all of the parameter and needs a dense one{see('howto/sparse.md')}"
        )
    if rule.average_share is not None:  # the z of a row that has never stepped is not there yet
        raise TypeError(
            f"the gradient of {name} is sparse, of some rows; {rule.name} averages all rows and needs "
            f"a dense one{see('howto/sparse.md')}"
        )
    if "average" in rule.around:
        raise TypeError(
            f"the gradient of {name} is sparse, of some rows; the average is of all rows at every "
            f"step: give a dense one, or leave average out{see('howto/sparse.md')}"
        )
    if not lazy and not rests(rule, scalars):
        raise TypeError(
            f"the gradient of {name} is sparse, of some rows; {rule.name} with these "
            "hyperparameters changes rows whose gradient is zero, too. Give a dense one, or leave "
            f"such rows as they are: with lazy=True, or by SparseAdam{see('howto/sparse.md')}"
        )


def check_blocks(name: str, rule: Rule, row: int) -> None:
    """Raise TypeError, naming the parameter, if a row of so many elements shares a block of a state
    with others, which would be stored anew with it."""
    for state in rule.scales.values():
        size = BLOCKWISE[rule.storage[state]].size
        if row % size:
            raise TypeError(
                f"the gradient of {name} is sparse, of rows of {row}; with state_dtype="
                f"{rule.state_dtype!r} {state} is stored in blocks of {size}, of which other rows have "
                f"a part. Give rows of a multiple of {size}, a dense gradient, or states in bfloat16 or "
                f"float16{see('howto/sparse.md')}"
            )


def _needs_the_parameter(node: Expr, whole_rows: bool) -> bool:
    """Return true for what some rows do not tell: all but the length of a row, if they are
    whole."""
    if node.op == "size":
        return not (whole_rows and node.value == ("element", "row"))
    return node.op in REDUCTIONS or node.op in FUNCTIONS or node.op == "random_signs"


def rests(rule: Rule, scalars: Mapping[str, Any]) -> bool:
    """Return true if a step with these scalars leaves parameter and state as they are where the
    gradient is zero. Found in the rule's text: zero times a number is zero, a number plus zero is
    itself."""
    outputs = _graph(rule)
    equals: dict[int, Expr] = {}
    for node in reachable(outputs.values()):
        equals[id(node)] = _where_grad_is_zero(node, [equals[id(a)] for a in node.args], scalars)
    # a copy is what its parameter was at the last step
    own = {n: "param" if n in rule.kept_in and n == COPY else n for n in outputs}
    return all(
        equals[id(e)].op == "input" and equals[id(e)].name == own[n] for n, e in outputs.items()
    )


def _where_grad_is_zero(node: Expr, args: list[Expr], scalars: Mapping[str, Any]) -> Expr:
    """Return an equal node: `ZERO`, one of the operands, or ``node`` itself."""
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


@kept
def _graph(rule: Rule) -> dict[str, Expr]:
    return trace_update(rule)[0]
