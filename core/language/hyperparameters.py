"""Values of hyperparameters, as users give them: checked against the rule that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .around import CHOICES, STRUCTURAL, checked_choice
from .codecs import checked_state_dtype
from .intervals import FINITE, POSITIVE, USUAL_BOUNDS, checked_number, plain
from .rounding import checked_rounding, checked_seed

# float, bool, a tuple of floats, a name, None for a kind of clipping that is off, or a `StateDtype`
Hyper = Any
Option = bool | int | str | None


def checked_hyperparameter(rule: Any, name: str, value: Any, where: str = "") -> Hyper:
    """Return the value of a hyperparameter that a `Rule` has, checked.

    Raises TypeError for a value of another type or number of entries, ValueError for one that is
    not finite, out of bounds or none of the rule's names. Both messages begin with ``where``.
    """
    if name == "state_dtype":
        return checked_state_dtype(value, where)
    if name in CHOICES:
        return checked_choice(name, value, where)
    if name == "rounding":
        return checked_rounding(value, where)
    if name == "seed":
        return checked_seed(value, where)
    if name in rule.choices and (isinstance(value, str) or name not in rule.defaults):
        return _checked_name(rule, name, value, where)
    default = rule.defaults[name] if name in rule.defaults else rule.known_hyperparameters[name]
    if isinstance(default, bool):
        value = plain(value)
        if not isinstance(value, (bool, int)) or value not in (0, 1):
            raise TypeError(f"{where}{name} must be True or False, not {value!r}")
        return bool(value)
    if default is None:
        return None if value is None else checked_number(where + name, value, POSITIVE)
    bounds = rule.bounds.get(name, USUAL_BOUNDS.get(name, FINITE))
    if isinstance(default, tuple):
        return _checked_tuple(where + name, value, len(default), bounds)
    return checked_number(f"{where}{name}", value, bounds)


def _checked_tuple(name: str, value: Any, length: int, bounds: Any) -> tuple[float, ...]:
    try:
        values = tuple(value)
    except TypeError:
        values = ()
    if len(values) != length:
        raise TypeError(f"{name} must be {length} numbers, not {value!r}")
    each = bounds if isinstance(bounds, tuple) else (bounds,) * length
    return tuple(
        checked_number(f"{name}[{i}]", number, interval)
        for i, (number, interval) in enumerate(zip(values, each, strict=True))
    )


def _checked_name(rule: Any, name: str, value: Any, where: str) -> str | None:
    names = rule.choices[name]
    if (value is None or isinstance(value, str)) and value in names:
        return value
    numbers = name in rule.defaults
    expected = " or ".join([repr(n) for n in names if n or not numbers] + ["numbers"] * numbers)
    raise ValueError(f"{where}{name} is {value!r}; expected {expected}")


def is_count(option: Option) -> bool:
    """Return true for a structural option that is a whole number, such as a rank."""
    return isinstance(option, int) and not isinstance(option, bool)


def chosen_options(rule: Any, hyper: Mapping[str, Any]) -> dict[str, Option]:
    """Return the structural options of a `Rule` that these hyperparameters ask for."""
    return {name: _option(rule, name, hyper[name]) for name in rule.options if name in hyper}


def _option(rule: Any, name: str, value: Any) -> Option:
    if name not in rule.choices:
        return int(value) if is_count(rule.options[name]) else bool(value)
    if name in rule.defaults and not isinstance(value, str):
        return None  # numbers
    return _checked_name(rule, name, value, "")


def check_options(
    rule: Any,
    hyper: Mapping[str, Any],
    where: str = "",
    when: str = "the optimizer was made",
    advice: str = "make a new optimizer to change it",
) -> None:
    """Raise ValueError if ``hyper`` asks for other structural options than those of this variant.

    One that is also a number may become zero, since the kernel still has its place.
    ``state_dtype``, ``rounding`` and the parts around the rule are among them.
    """
    storage = ("state_dtype", "rounding")
    asked = {name: hyper[name] for name in (*storage, *STRUCTURAL)}
    asked |= chosen_options(rule, hyper)
    own = {**rule.options, **{name: getattr(rule, name) for name in storage}}
    own |= {**STRUCTURAL, **rule.around}
    for name, value in asked.items():
        number = name in rule.defaults and name not in rule.choices
        if value != own[name] and (value or not number):
            raise ValueError(
                f"{where}{name} was {own[name]!r} when {when} and is structural: "
                f"state and kernels depend on it; {advice}"
            )
