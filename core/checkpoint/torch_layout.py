"""The differences between torch.optim's state of an optimizer and ours.

The names are the same, ``exp_avg`` or ``mu_product``; these are the exceptions. Adafactor is not
among them: torch's is another algorithm, whose state has other names, and is not exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..language.around import CARRIED, is_last_copy, is_of_parts, last_copies
from ..language.composition import inside, names_of_parts
from ..language.rule import Rule
from ..pages import see
from ..rules import registry


@dataclass(frozen=True)
class Layout:
    """The difference of torch's state of an optimizer from a step count, the carry and the
    arrays."""

    counts_steps: bool = True  # without: a state is there only after the first step
    scalars: tuple[str, ...] = ()  # scalars of the next step, which torch computes at the last
    from_the_start: bool = False  # state is there before the first step
    # what torch's groups say of the kind of optimizer, where it has two of one layout
    kind: Mapping[str, bool] = field(default_factory=dict)


# what torch's groups have that says nothing about the step
IGNORED = {"foreach", "fused", "capturable", "differentiable", "initial_lr", "param_names"}
MOST_STEPS = 2**53  # float64 has all whole numbers below it
USUAL = Layout()
EXCEPTIONS = {
    "adam": Layout(kind={"decoupled_weight_decay": False}),
    "adamw": Layout(kind={"decoupled_weight_decay": True}),
    "sgd": Layout(counts_steps=False),
    "asgd": Layout(scalars=("eta", "mu")),
    "adagrad": Layout(from_the_start=True),
}


def layout_of(rule: Rule) -> Layout:
    """Return the layout of the optimizer whose rule this is a variant of; the usual one of a rule
    of the user's own."""
    rule = inside(rule)
    built_in = registry.get(rule.name)
    if built_in is None or (
        rule.scalars is not built_in.scalars and rule.factory is not built_in.factory
    ):
        return USUAL
    return EXCEPTIONS.get(rule.name, USUAL)


def read_entry(
    rule: Rule, entry: Mapping[str, Any], where: str
) -> tuple[int, dict[str, float], dict[str, Any]] | None:
    """Return the step count, the carry and the arrays in one parameter's state, ours or torch's;
    None if it is that of a parameter that has not stepped. What parts around the rule keep may be
    missing: they begin with this step.

    Raises TypeError or ValueError, beginning with ``where``, for other entries than the rule has.
    """
    layout = layout_of(rule)
    entry = {name: value for name, value in entry.items() if name not in layout.scalars}
    if not layout.counts_steps:
        entry = {name: value for name, value in entry.items() if value is not None}
        entry = {"step": 1, **entry} if entry else {}
    if not entry:
        return None
    expected = {"step", *rule.carry, *rule.arrays}
    missing = expected - set(entry)
    copies = last_copies(rule.around)
    _check_number_of_copies(copies, {*entry} - ({*rule.arrays} - {*copies}), where)
    if missing & {"average", *copies}:  # an average that begins counts anew
        missing |= {*CARRIED} & rule.carry.keys()
    if not set(entry) <= expected or not missing <= names_of_parts(rule):
        of_parts = sorted(filter(is_of_parts, set(entry) - expected))
        remedy = (
            f"; make this optimizer with the master, compensated or average that keeps {of_parts}, or "
            f"take these out of the state dict{see('checkpoints.md')}"
            if of_parts
            else ""
        )
        raise ValueError(f"{where}has {sorted(entry)}; expected {sorted(expected)}{remedy}")
    entry |= {name: rule.carry[name] for name in missing & rule.carry.keys()}
    step, *carry = (_number(entry[name], f"{where}{name}") for name in ("step", *rule.carry))
    if not 0 <= step < MOST_STEPS or not step.is_integer():
        raise ValueError(f"{where}step is {entry['step']}; expected a whole number below 2**53")
    if not layout.counts_steps and step == 0:
        return None
    arrays = {name: entry[name] for name in rule.arrays if name in entry}
    return int(step), dict(zip(rule.carry, carry, strict=True)), arrays


def _check_number_of_copies(copies: tuple[str, ...], names: set[str], where: str) -> None:
    """Raise ValueError for another number of last copies among these names than the rule keeps;
    none may be there."""
    found = set(filter(is_last_copy, names))
    if found and copies and found != {*copies}:
        raise ValueError(
            f"{where}has {len(found)} last copies of the parameter; expected {len(copies)}: make this "
            f"optimizer with average={len(found)}, or take the states average_0 to "
            f"average_{len(found) - 1} out of the state dict, then they begin anew{see('checkpoints.md')}"
        )


def _number(value: Any, name: str) -> float:
    try:
        if isinstance(value, (str, bytes, bool, np.bool_)):  # float() would take them
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last from a tensor
        raise TypeError(f"{name} is {value!r}; expected a number") from None
