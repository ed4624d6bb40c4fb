"""The variant of a rule that hyperparameters ask for: its options, the parts around it, its
codecs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..language.around import OF_16_BITS, STRUCTURAL, in_order
from ..language.hyperparameters import Option, chosen_options
from ..language.rule import Rule
from .averages import averaged
from .copies import copied
from .half import compensated, float32_master, split_master

MASTERS = {"float32": float32_master, "split": split_master}
PARTS: Mapping[str, Callable[[Rule, Any], Rule]] = {
    "master": lambda rule, value: MASTERS[value](rule),
    "compensated": lambda rule, value: compensated(rule),
    "average": averaged,
    "copy_to": copied,
}


def variant_of(
    rule: Rule, hyper: Mapping[str, Any], options: Mapping[str, Option] | None = None
) -> Rule:
    """Return the variant of ``rule`` that these hyperparameters ask for; the same object each time.

    ``options`` are its structural options, where they do not follow from ``hyper``. Raises
    ValueError for parts that do not go together, or one that cannot be left out.
    """
    variant = rule.variant(**(chosen_options(rule, hyper) if options is None else options))
    for name in in_order(hyper):
        value, own = hyper[name], variant.around.get(name, STRUCTURAL[name])
        if value == own:
            continue
        if own:
            raise ValueError(
                f"{name} is {value!r}; the rule {rule.name!r} is composed with {name}={own!r}, which "
                "cannot be taken away: give the rule without it"
            )
        variant = PARTS[name](variant, value)
    for name in OF_16_BITS:
        if name in variant.around and hyper["rounding"] != "nearest":
            raise ValueError(
                f"{name} keeps what rounding to nearest loses; with rounding={hyper['rounding']!r} nothing "
                "is kept: leave one of the two out"
            )
    return variant.stored_as(hyper["state_dtype"], hyper["rounding"])
