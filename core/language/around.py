"""The hyperparameters that put parts around any rule: their names, values and what they are for.

`samestep.parts` has the parts. Which of them are around a rule is structural: state and kernels
depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from .dtypes import named
from .intervals import plain
from .names import meant

CHOICES = {
    "master": ("float32", "split"),
    "average": ("ema", "mean"),
    "copy_to": ("bfloat16", "float16"),  # of arrays that an optimizer is given
}
# the structural ones, with what leaves them out, in the order in which parts go around a rule
STRUCTURAL: dict[str, Any] = {
    "master": None,
    "compensated": False,
    "average": None,
    "copy_to": None,
}
DEFAULTS: Mapping[str, Any] = {
    **STRUCTURAL,
    "average_decay": 0.999,
    "average_start": 0.0,
    "average_every": 1.0,
}
CARRIED = ("averaged", "next_copy", "since_copy")  # by the parts
OF_PARTS = ("master", "remainder", "lost", "average", *CARRIED)  # their states and carries
MOST_COPIES = 1000  # each as large as the parameter: a file or a slip must not ask for billions
COPY = "copy"  # a state that is the caller's, and that no checkpoint has
OF_16_BITS = ("master", "compensated")
_COPY = re.compile(r"average_\d+")  # one of the last copies of the parameter


def is_of_parts(name: str) -> bool:
    """Return true for the name of a state or a carry that parts keep."""
    return name in OF_PARTS or is_last_copy(name)


def is_last_copy(name: str) -> bool:
    """Return true for the name of a state of `last_copies`."""
    return _COPY.fullmatch(name) is not None


def last_copies(around: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the states that have the last copies of the parameter, as many as
    ``average`` says; none where it is no number."""
    count = around.get("average")
    return tuple(f"average_{k}" for k in range(count)) if isinstance(count, int) else ()


def prefix(name: str, value: Any) -> str:
    """Return what the name of a rule with such a part begins with: ``master_adamw``,
    ``split_adamw``, ``ema_adamw``, ``last5_adamw``, ``copied_adamw``."""
    if name == "copy_to":
        return "copied_"
    if name == "average" and isinstance(value, int):
        return f"last{value}_"
    return f"{name if value in (True, 'float32') else value}_"


def in_order(hyper: Mapping[str, Any]) -> list[str]:
    """Return the names of all parts, in the order in which these go around a rule. The halves of a
    split master come last: they are of what all other parts return, which is rounded only then."""
    return sorted(STRUCTURAL, key=lambda name: hyper.get(name) == "split")


def name_inside(rule: str, hyper: Mapping[str, Any]) -> str:
    """Return the name of the rule that the parts are around, which ``hyper`` ask for."""
    for name in reversed(in_order(hyper)):
        if value := hyper.get(name):
            rule = rule.removeprefix(prefix(name, value))
    return rule


def checked_choice(name: str, value: Any, where: str = "") -> Any:
    """Return the value of one of `STRUCTURAL`. Raise ValueError, beginning with ``where``, for
    another one."""
    value = named(plain(value))
    if name not in CHOICES:
        return bool(value)
    if value is None or (isinstance(value, str) and value in CHOICES[name]):
        return value
    expected = " or ".join(map(repr, CHOICES[name]))
    if name == "average":
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if whole and 1 <= int(value) <= MOST_COPIES:
            return int(value)
        expected += f", a whole number from 1 to {MOST_COPIES}, for the mean of so many last copies"
    hint = meant(value, CHOICES[name]) if isinstance(value, str) else ""
    raise ValueError(f"{where}{name} is {value!r}; expected {expected}, or None{hint}")


def check_bits(what: str, around: Mapping[str, Any], dtype: str) -> None:
    """Raise TypeError if a part is ``around`` the rule of a parameter that loses nothing by
    rounding. ``what`` says, with the parameter's name, what it is."""
    for name in OF_16_BITS:
        if around.get(name) and dtype not in ("bfloat16", "float16"):
            raise TypeError(
                f"{what}; {name}={around[name]!r} is for parameters of bfloat16 or float16, whose "
                f"updates rounding loses: leave it out (a group with {name}={STRUCTURAL[name]!r} "
                "takes others)"
            )
    if around.get("copy_to") and dtype != "float32":
        raise TypeError(
            f"{what}; copy_to is for parameters of float32, which it copies in 16 bits: leave it out (a "
            "group with copy_to=None takes others). Parameters of 16 bits have master='float32' instead"
        )
    if around.get("master") == "split" and dtype != "bfloat16":
        raise TypeError(
            f"{what}; master='split' is for parameters of bfloat16, which is the upper half of a float32 "
            f"(a {dtype} is no part of one): take master='float32'"
        )
