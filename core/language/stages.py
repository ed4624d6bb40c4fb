"""The stages of a rule that calls functions of whole matrices
(`samestep.language.matrix_functions`).

Such a function is known only after every element of its argument was computed, and no kernel of one
element can compute it. So the rule's text is cut there, into rules like any other: a stage computes
the argument of one function into an array beside the state, and changes nothing else; the function
overwrites that array; the next stage reads it where the text calls the function. The last stage
updates parameter and state. So sums, clipping, codecs and parts need to know nothing of matrices.

Square and thin states are for such functions alone: stages neither read nor write them. A function
that returns one leaves the array of its argument as it is, for the next function of the same value.
A matrix that is made of thin states alone has an array of its own.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .blocks import WHOLE
from .composition import with_arguments
from .kept import kept
from .matrix_functions import FUNCTIONS, MatrixFunction
from .names import shortened
from .results import as_tuple
from .rule import Rule
from .tracer import Expr, trace_update


@dataclass(frozen=True)
class Call:
    """A call of a matrix function after the stage ``after``. ``values`` are the names of its
    arrays: of an argument that this stage or an earlier one computed, of square or thin states, and
    of results.

    ``result`` is the name of what it writes, ``per`` what that has a number for: per element the
    array that it overwrites, or a new one. ``scalars`` are the names of its numbers in a row,
    ``dtype`` is that of its products, None for the compute dtype.
    """

    function: MatrixFunction
    values: tuple[str, ...]
    result: str
    per: str
    scalars: tuple[str, ...]
    dtype: str | None
    after: int


@dataclass(frozen=True)
class Stages:
    """The ``rules`` of all stages, the ``calls`` between them in the order of the text, the
    ``arrays`` that the stages but for the last compute, and those that functions ``made``; and what
    each state that only functions know ``becomes``, the name of a result or its own."""

    rules: tuple[Rule, ...]
    calls: tuple[Call, ...]
    arrays: tuple[str, ...]
    made: tuple[str, ...]
    becomes: Mapping[str, str]


@kept
def stages(rule: Rule) -> Stages:
    """Return the stages of ``rule``: itself alone, if it calls no function of a whole matrix.

    Raises TypeError for arguments that such a function does not take.
    """
    recorded = _Recorded(rule)
    if not recorded.calls:
        return Stages((rule,), (), (), (), {})
    count = len(recorded.arrays) + 1
    return Stages(
        tuple(_stage(rule, k, recorded) for k in range(count)),
        tuple(recorded.calls),
        tuple(recorded.arrays),
        tuple(map(_result, recorded.made)),
        recorded.becomes,
    )


def _result(call: Call) -> str:
    return call.result


class _Recorded:
    """The calls in the order of the text, and the names of their arrays."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.calls: list[Call] = []
        self.arrays: list[str] = []
        self.made: list[Call] = []  # those that return a matrix in an array of its own
        self._names: dict[int, str] = {}  # of a traced value: of a state, or an array that has it
        self._overwritten: dict[int, str] = {}  # the array that a result was written over
        self._seen: list[Any] = []  # these values, so that no other one gets the same identity

        @functools.wraps(rule.update)
        def update(xp: Any, s: Any, param: Any, grad: Any, *state: Any) -> Any:
            self._seen += state
            self._names |= {id(value): name for name, value in zip(rule.state, state, strict=True)}
            return rule.update(_Recording(xp, self), s, param, grad, *state)

        # the rule's own results are traced with its calls, so that their nodes are the same
        after, _ = trace_update(dataclasses.replace(rule, update=update, delta=None, decay=None))
        whole = [name for name, per in rule.per.items() if per in WHOLE]
        self.becomes = {name: self._names[id(after[name])] for name in whole}

    def add(self, result: Expr) -> None:
        """Take note of a call of a function, by the node of its result."""
        self._seen.append(result)
        name, function = result.op, FUNCTIONS[result.op]
        count = len(function.values)
        values, numbers = result.args[:count], result.args[count:]
        of_values = tuple(
            self._array(name, value) if per == "element" else self._names[id(value)]
            for value, per in zip(values, function.values, strict=True)
        )
        if function.overwrites:  # the array has another value from here on
            written = self._overwritten[id(result)] = of_values[0]
            del self._names[id(values[0])]
        else:
            written = self._unused(f"{name}_{len(self.calls) + 1}")
        if result.per != "element":
            self._names[id(result)] = written
        scalars = tuple(str(number.name) for number in numbers)
        after = max(len(self.arrays) - 1, 0)
        call = Call(function, of_values, written, result.per, scalars, result.value, after)
        self.calls.append(call)
        if result.per == "element" and not function.overwrites:
            self.made.append(call)

    def _array(self, name: str, value: Expr) -> str:
        """Return the name of an array that has this value: a new one, unless there is one. That of
        a result is for functions that leave it as it is, since the text may use the result later,
        too."""
        known = self._names.get(id(value))
        if not FUNCTIONS[name].overwrites:
            known = self._overwritten.get(id(value), known)
        if known not in self.arrays:
            word = name if FUNCTIONS[name].overwrites else "argument"
            known = self._names[id(value)] = self._unused(f"{word}_{len(self.calls) + 1}")
            self.arrays.append(known)
        return known

    def _unused(self, name: str) -> str:
        """Return a name that no state has."""
        while name in self.rule.state:
            name += "_"
        return name


class _Recording:
    """The traced ``xp``, which has each call of a matrix function taken note of."""

    def __init__(self, xp: Any, recorded: _Recorded) -> None:
        self._xp, self._recorded = xp, recorded

    def __getattr__(self, name: str) -> Any:
        word = getattr(self._xp, name)
        if name not in FUNCTIONS:
            return word

        def call(*args: Any, **given: Any) -> Any:
            result = word(*args, **given)
            self._recorded.add(result)
            return result

        return call


class _ArgumentError(Exception):
    """Raised in the middle of the rule's text: here is the argument of the next matrix function."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _OfStage:
    """The ``xp`` of a stage: matrices that functions returned before it are ``known``, the first
    call of the array that it computes, ``own``, ends the text. A square or thin state is only
    passed on: nothing."""

    def __init__(
        self, xp: Any, calls: Sequence[Call], known: Mapping[str, Any], own: str | None
    ) -> None:
        self._xp, self._calls, self._known, self._own = xp, iter(calls), known, own

    def __getattr__(self, name: str) -> Any:
        return self._call if name in FUNCTIONS else getattr(self._xp, name)

    def _call(self, *args: Any, **given: Any) -> Any:
        call = next(self._calls)
        if self._own in call.values:
            raise _ArgumentError(args[0])
        return self._known.get(call.result)


def _stage(rule: Rule, k: int, recorded: _Recorded) -> Rule:
    """Return stage ``k``: the last one where there is no array to compute any more."""
    arrays, calls = recorded.arrays, recorded.calls
    is_last = k == len(arrays)
    own = None if is_last else arrays[k]
    stored = [name for name in rule.state if rule.per.get(name) not in WHOLE]
    present = [*arrays[:k], *(call.result for call in recorded.made if call.after < k)]

    @functools.wraps(rule.update)
    def update(xp: Any, s: Any, param: Any, grad: Any, *state: Any) -> Any:
        given = dict(zip((*stored, *present), state, strict=False))
        known = {name: given[name] for name in present}
        stage = _OfStage(xp, calls, known, own)
        try:
            after = as_tuple(rule.update(stage, s, param, grad, *map(given.get, rule.state)))
        except _ArgumentError as found:
            return (param, *state[: len(stored) + len(present)], found.value)
        named = dict(zip(("param", *rule.state), after, strict=True))
        return (named["param"], *(named[name] for name in stored), *known.values())

    return dataclasses.replace(
        rule,
        name=shortened(f"{rule.label}_{'last' if is_last else f'before_{own}'}"),
        update=with_arguments(update, (*stored, *present, *arrays[k : k + 1])),
        delta=None,
        decay=None,
        per={name: per for name, per in rule.per.items() if per not in WHOLE},
        initial={name: value for name, value in rule.initial.items() if name in stored},
        options={},
        choices={},
        factory=None,
        shape_options=None,
        state_dtype={n: c for n, c in rule.storage.items() if n not in rule.kept_in} or None,
    )
