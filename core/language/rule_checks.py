"""Checks of a rule when it is made, before its functions run."""

from __future__ import annotations

import inspect
from typing import Any

from ..pages import see
from .blocks import THIN, WHOLE
from .names import LONGEST_OF_FILE, PER, TAKEN, check_names


def check_functions(rule: Any) -> None:
    """Raise TypeError unless this `Rule`, which is being made, has one of ``update`` and
    ``delta``."""
    given = [name for name in ("update", "delta") if getattr(rule, name) is not None]
    if rule.delta is not None and hasattr(rule.update, "of_delta"):  # made from it before
        given = ["delta"]
    if len(given) != 1:
        raise TypeError(
            f"rule {rule.name!r} has {' and '.join(given) or 'neither update nor delta'}; give one: "
            "update, which returns the parameter, or delta, which returns what is subtracted"
        )
    if rule.decay is not None and rule.delta is None:
        raise TypeError(f"rule {rule.name!r}: decay goes with delta, not with update")
    if rule.average_share is not None and rule.delta is not None:
        raise TypeError(f"rule {rule.name!r}: average_share goes with update, not with delta")


def check_definition(rule: Any) -> None:
    """Raise TypeError or ValueError if no optimizer could use this `Rule`, which is being made."""
    check_names("a rule's name", [rule.name], "", longest=LONGEST_OF_FILE)
    rule_is = f"rule {rule.name!r}: "
    check_names("an option", rule.options, rule_is)
    values = {name: list(filter(None, names)) for name, names in rule.choices.items()}
    for name, names in values.items():
        check_names(f"a value of {name}", names, rule_is)
    longest = (max([name, *values.get(name, [])], key=len) for name in rule.options)
    label = "_".join([rule.name, *longest])
    check_names("the name with all options", [label], rule_is, longest=LONGEST_OF_FILE)
    _check_reference(rule.reference, rule_is)
    _check_arguments(rule, rule_is)
    for what in ("initial", "per"):
        if unknown := set(getattr(rule, what)) - set(rule.state):
            raise TypeError(f"{rule_is}{what} names unknown state {sorted(unknown)}")
    check_names("hyperparameter", rule.defaults, rule_is, TAKEN)
    check_names("state", rule.state, rule_is, {"step"})
    check_names("carry", rule.carry, rule_is, {"step", "param", "grad", *rule.state})
    _check_shared(rule, rule_is)
    for name, names in rule.choices.items():
        if name not in rule.options or rule.options[name] not in names:
            raise TypeError(
                f"{rule_is}choices[{name!r}] is {names}, and options is {dict(rule.options)}, which must "
                "have one of them"
            )
    _check_hessian_rule(rule, rule_is)
    if rule.average_share is not None and "z" not in rule.state:
        raise TypeError(f"{rule_is}average_share needs a state named 'z'; it has {rule.state}")
    for name, value in rule.per.items():
        if value not in (*PER, *WHOLE):
            raise ValueError(
                f"{rule_is}per[{name!r}] must be one of {(*PER, *sorted(WHOLE))}, not {value!r}"
            )
        kind = "thin" if value in THIN else "square"
        if value in WHOLE and rule.initial.get(name, 0) != 0:
            raise ValueError(f"{rule_is}the {kind} state {name} starts at 0, not as initial says")
        if value in THIN and not (isinstance(rule.rank, int) and rule.rank > 0):
            raise ValueError(
                f"{rule_is}rank is {rule.rank!r}; expected a whole number from 1 on, how many numbers the "
                f"thin state {name} has per row or column"
            )
    _check_numbers(rule, rule_is)


def _check_hessian_rule(rule: Any, rule_is: str) -> None:
    other = rule.hessian_rule
    if other is None:
        return
    if other.state != rule.state[: len(other.state)] or not other.state:
        raise TypeError(
            f"{rule_is}hessian_rule {other.name!r} has the states {other.state}; expected the first of "
            f"{rule.state}, or all, in their order"
        )
    if other.carry or other.per != {n: v for n, v in rule.per.items() if n in other.state}:
        raise TypeError(
            f"{rule_is}hessian_rule {other.name!r} must have states of the same shapes, and no carry"
        )
    if unknown := sorted({*other.defaults} - {*rule.defaults}):
        raise TypeError(
            f"{rule_is}hessian_rule {other.name!r} has the hyperparameter {unknown[0]!r}, which the rule "
            f"has not; it has {', '.join(rule.defaults)}"
        )


def _check_shared(rule: Any, rule_is: str) -> None:
    for name, state in rule.shared.items():
        if name not in rule.carry:
            raise TypeError(
                f"{rule_is}shared names {name!r}, which is not in carry {[*rule.carry]}"
            )
        if state is not None and rule.per.get(state) != "tensor":
            raise TypeError(
                f"{rule_is}shared[{name!r}] must be None or a state of per 'tensor', which is summed over "
                f"all parameters, not {state!r}"
            )


def _check_reference(reference: Any, rule_is: str) -> None:
    if not isinstance(reference, str):
        raise TypeError(f"{rule_is}reference must be a text, not {reference!r}")
    for character in reference:
        if not character.isprintable() and character != "\n":
            raise ValueError(
                f"{rule_is}reference must be of printable characters and line ends; it has "
                f"{character!r}"
            )


def _check_arguments(rule: Any, rule_is: str) -> None:
    arguments = inspect.signature(rule.update).parameters
    variable = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    kinds = {argument.kind for argument in arguments.values()}
    if tuple(arguments)[:4] != ("xp", "s", "param", "grad") or kinds & variable:
        raise TypeError(
            f"{rule_is}update must take (xp, s, param, grad, *state), each state by its name, not "
            f"{tuple(map(str, arguments.values()))}{see('howto/rule.md')}"
        )


def _check_numbers(rule: Any, rule_is: str) -> None:
    """Check defaults, bounds and initial values."""
    for name, default in rule.defaults.items():
        numbers = default if isinstance(default, tuple) else (default,)
        if not numbers or not all(isinstance(number, (int, float)) for number in numbers):
            raise TypeError(
                f"{rule_is}the default of {name} must be a number, a tuple of numbers, True or "
                f"False, not {default!r}"
            )
    if unknown := set(rule.bounds) - set(rule.defaults):
        raise TypeError(f"{rule_is}bounds names unknown hyperparameters {sorted(unknown)}")
    for name, bounds in rule.bounds.items():
        each, default = bounds if isinstance(bounds, tuple) else (bounds,), rule.defaults[name]
        fits = not isinstance(bounds, tuple) or (
            isinstance(default, tuple) and len(bounds) == len(default)
        )
        if not fits or not all(hasattr(interval, "low") for interval in each):
            raise TypeError(
                f"{rule_is}bounds[{name!r}] must be a samestep.Interval such as Interval(0, 1), or a tuple of as many as the "
                f"default {default!r} has numbers, not {bounds!r}"
            )
    for name, value in rule.initial.items():
        known = isinstance(value, str) and isinstance(rule.defaults.get(value), (int, float))
        if not known and not isinstance(value, (int, float)):
            raise TypeError(
                f"{rule_is}initial[{name!r}] must be a number or the name of a hyperparameter that "
                f"is one ({', '.join(rule.defaults)}), not {value!r}"
            )
    for name, value in rule.carry.items():
        if not isinstance(value, (int, float)):
            raise TypeError(f"{rule_is}carry[{name!r}] must be a number, not {value!r}")
