"""A rule that keeps the last copies of its parameter is launched as the text of a step whose turn
is known, in which the other copies do not occur.

A kernel of the whole text would read and write all copies at every step, 8 bytes a parameter each.
The host knows whose turn it is, so what is launched writes one copy, or none.
"""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace
from typing import Any

from .around import last_copies, prefix
from .composition import with_arguments
from .kept import kept
from .names import shortened
from .results import as_tuple
from .rule import Rule

TURN = "average_turn"  # the scalar: the number of the copy that this step writes, -1 for none


@kept
def writing(rule: Rule) -> Rule:
    """Return the rule at a step that takes a copy. Its one state for copies is the first one, in
    whose place a launch is given the one whose turn it is: so all of them share a kernel."""
    return _at_turn(rule, 0)


@kept
def without_copies(rule: Rule) -> Rule:
    """Return the rule at a step that takes no copy."""
    return _at_turn(rule, -1)


def _at_turn(rule: Rule, turn: int) -> Rule:
    """Return the rule where the scalar `TURN` is this number."""
    copies = last_copies(rule.around)
    others = {name for k, name in enumerate(copies) if k != turn}
    state = [name for name in rule.state if name not in others]

    @functools.wraps(rule.update)
    def update(xp: Any, s: Any, param: Any, grad: Any, *values: Any) -> Any:
        given = dict(zip(state, values, strict=True))
        own = _Scalars(s, turn)
        after = as_tuple(
            rule.update(_Vocabulary(xp), own, param, grad, *map(given.get, rule.state))
        )
        named = dict(zip(rule.state, after[1:], strict=True))
        return (after[0], *map(named.__getitem__, state))

    any_number = rule.label.replace(prefix("average", len(copies)), "last_", 1)
    return dataclasses.replace(
        rule,
        name=shortened(f"{any_number}_{'with' if turn >= 0 else 'without'}_a_copy"),
        update=with_arguments(update, state),
        delta=None,
        decay=None,
        kept_in={name: codec for name, codec in rule.kept_in.items() if name not in others},
        options={},
        choices={},
        factory=None,
        shape_options=None,
    )


class _Scalars:
    """The scalars of a row, but with a turn that is known."""

    def __init__(self, s: SimpleNamespace, turn: int) -> None:
        self._s = s
        setattr(self, TURN, turn)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s, name)


class _Vocabulary:
    """The ``xp`` of a text in which some conditions are known: it takes one of two values by them,
    and the other one may be missing."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """Return ``xp.where`` of what is not known."""
        if isinstance(condition, bool):
            return a if condition else b
        return self._xp.where(condition, a, b)
