"""The stages of a rule that calls functions of whole matrices (`samestep.language.matrix_functions`).

Such a function is known only after every element of its argument was computed, and no kernel of one
element can compute it. So the rule's text is cut there, into rules like any other: a stage computes
the argument of one function into an array beside the state, and changes nothing else; the function
overwrites that array; the next stage reads it where the text calls the function. The last stage
updates parameter and state. So sums, clipping, codecs and parts need to know nothing of matrices.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .composition import with_states
from .kept import kept
from .matrix_functions import FUNCTIONS, MatrixFunction
from .results import as_tuple
from .rule import Rule
from .tracer import trace_update


@dataclass(frozen=True)
class Call:
    """A call of a matrix function: ``array`` is the name of what it overwrites, ``scalars`` are the
    names of its numbers in a row, ``dtype`` is that of its products, None for the compute dtype."""

    function: MatrixFunction
    array: str
    scalars: tuple[str, ...]
    dtype: str | None


@dataclass(frozen=True)
class Stages:
    """The ``rules`` of all stages, and the ``calls`` between them: one less."""

    rules: tuple[Rule, ...]
    calls: tuple[Call, ...]


@kept
def stages(rule: Rule) -> Stages:
    """Return the stages of ``rule``: itself alone, if it calls no function of a whole matrix.

    Raises TypeError for arguments that such a function does not take.
    """
    calls = tuple(_calls(rule))
    if not calls:
        return Stages((rule,), ())
    arrays = [call.array for call in calls]
    return Stages(tuple(_stage(rule, k, arrays) for k in range(len(calls) + 1)), calls)


def _calls(rule: Rule) -> Iterator[Call]:
    """Yield the calls in the order of the text."""
    found: list[Any] = []

    @functools.wraps(rule.update)
    def update(xp: Any, s: Any, param: Any, grad: Any, *state: Any) -> Any:
        return rule.update(_Recording(xp, found), s, param, grad, *state)

    trace_update(dataclasses.replace(rule, update=update, delta=None, decay=None))
    for k, node in enumerate(found):
        scalars = tuple(str(number.name) for number in node.args[1:])
        yield Call(FUNCTIONS[node.op], _unused(rule, f"{node.op}_{k + 1}"), scalars, node.value)


def _unused(rule: Rule, name: str) -> str:
    """Return a name that no state has."""
    while name in rule.state:
        name += "_"
    return name


class _Recording:
    """The traced ``xp``, with the node of each call of a matrix function in ``found``."""

    def __init__(self, xp: Any, found: list[Any]) -> None:
        self._xp, self._found = xp, found

    def __getattr__(self, name: str) -> Any:
        word = getattr(self._xp, name)
        if name not in FUNCTIONS:
            return word

        def call(*args: Any, **given: Any) -> Any:
            result = word(*args, **given)
            self._found.append(result)
            return result

        return call


class _ArgumentError(Exception):
    """Raised in the middle of the rule's text: here is the argument of the next matrix function."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _OfStage:
    """The ``xp`` of a stage: functions of earlier stages are ``known``, the next one ends the text."""

    def __init__(self, xp: Any, known: Sequence[Any]) -> None:
        self._xp, self._known = xp, iter(known)

    def __getattr__(self, name: str) -> Any:
        return self._call if name in FUNCTIONS else getattr(self._xp, name)

    def _call(self, *args: Any, **given: Any) -> Any:
        for result in self._known:
            return result
        raise _ArgumentError(args[0])


def _stage(rule: Rule, k: int, arrays: Sequence[str]) -> Rule:
    """Return stage ``k``: the last one where there is no array to compute any more."""
    is_last = k == len(arrays)
    present, own = arrays[: k + 1], len(rule.state)

    @functools.wraps(rule.update)
    def update(xp: Any, s: Any, param: Any, grad: Any, *state: Any) -> Any:
        try:
            results = rule.update(_OfStage(xp, state[own : own + k]), s, param, grad, *state[:own])
        except _ArgumentError as found:
            return (param, *state[: own + k], found.value)
        return (*as_tuple(results), *state[own:])

    return dataclasses.replace(
        rule,
        name=f"{rule.label}_{'last' if is_last else f'before_{arrays[k]}'}",
        update=with_states(update, rule, *present),
        delta=None,
        decay=None,
        options={},
        choices={},
        factory=None,
        shape_options=None,
        state_dtype=dict(rule.storage) or None,
    )
