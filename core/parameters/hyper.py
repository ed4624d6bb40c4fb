"""Hyperparameters of the groups: numbers, or schedules that give one for each step."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from ..language.dtypes import named
from ..language.hyperparameters import check_options, checked_hyperparameter, chosen_options
from ..language.rule import CLIPS, Rule
from ..language.scalars import as_numbers


def is_function(value: Any) -> bool:
    """Say whether ``value`` is a function of the step: no class, as a dtype may be
    (``np.float16``)."""
    return callable(value) and not isinstance(value, type)


def is_scheduled(value: Any) -> bool:
    """Say whether ``value`` is a function of the step, or a tuple with one in it."""
    if isinstance(value, (tuple, list)):
        return any(map(callable, value))
    return is_function(value)


def at_step(value: Any, step: int) -> Any:
    """Return ``value`` at ``step``, which counts the optimizer's steps from 0."""
    if not is_scheduled(value):
        return value
    if callable(value):
        return value(step)
    return tuple(v(step) if callable(v) else v for v in value)


def is_fixed(value: Any) -> bool:
    """Say whether this value cannot change while it is the same object: numbers, tuples, names; or
    is a dict of such, of which what was seen is a copy (`as_seen`)."""
    if isinstance(value, tuple):
        return all(map(is_fixed, value))
    if isinstance(value, dict):
        return all(map(is_fixed, value.values()))
    return isinstance(value, (bool, int, float, str, type(None)))


def as_seen(value: Any) -> Any:
    """Return what the value is equal to as long as it has not changed."""
    return dict(value) if isinstance(value, dict) else value


def numbers_at(
    rule: Rule, values: Mapping[str, Any], step: int, where: str = "", others: Iterable[str] = ()
) -> dict[str, Any]:
    """Return hyperparameters as numbers at ``step``, checked. Raises what `Rule.hyperparameters`
    raises."""
    values = {name: named(value) for name, value in values.items()}
    for name, value in values.items():
        if isinstance(value, type):
            called = value.__name__
            raise TypeError(f"{where}{name} is the class {called}; call it: {name}={called}(...)")
    now = {name: at_step(value, step) for name, value in values.items()}
    return rule.hyperparameters(now, where, others)


def as_held(values: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyperparameters as a group holds them: schedules as they are, others as
    ``numbers``."""
    return {
        name: values[name] if is_scheduled(values.get(name)) else number
        for name, number in numbers.items()
    }


def options_asked_for(rule: Rule, held: Mapping[str, Any], numbers: Mapping[str, Any]) -> Any:
    """Return the structural options of these hyperparameters. One that is also a number counts when
    it is scheduled, whatever it begins with."""
    return {
        name: on if name in rule.choices else on or is_scheduled(held[name])
        for name, on in chosen_options(rule, numbers).items()
    }


class GroupHyper:
    """The hyperparameters of one group at one step, ready for ``scalars``."""

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self._all = numbers
        self._given = {
            name: value
            for name, value in numbers.items()
            if value is not None and not isinstance(value, (str, Mapping))
        }
        self._numbers = as_numbers(self._given)
        self.sign = -1.0 if numbers["maximize"] else 1.0
        self.lazy = bool(numbers["lazy"])
        self.clips = tuple(name for name in CLIPS if name in self._given)

    def at(
        self, rule: Rule, group: Mapping[str, Any], names: list[str], step: int, where: str
    ) -> GroupHyper:
        """Return those of another step: what the schedules of these names in ``group`` say,
        checked."""
        now = {name: checked_hyperparameter(rule, name, group[name](step), where) for name in names}
        numbers = {**self._all, **now}
        check_options(rule, numbers, where)
        return GroupHyper(numbers)

    def numbers(self, decays: bool) -> SimpleNamespace:
        """Return them with the weight decay, or without it where the mask says so."""
        return self._numbers if decays else self._undecayed

    @functools.cached_property
    def _undecayed(self) -> SimpleNamespace:
        without = {"weight_decay": 0.0} if "weight_decay" in self._given else {}
        return as_numbers({**self._given, **without})
