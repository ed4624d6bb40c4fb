"""Variants of a rule, by structural options and by what states are stored in: each is made once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from .codecs import StateDtype, without_sign
from .hyperparameters import Option
from .kept import kept
from .names import suggestion
from .signs import never_negative

Options = tuple[tuple[str, Option], ...]


@kept
def variant(factory: Callable[..., Any], options: Options) -> Any:
    """Return the `Rule` that ``factory`` builds from these options."""
    return factory(**dict(options))


def rebuilt(
    factory: Callable[..., Any], options: Options, state_dtype: StateDtype, rounding: str
) -> Any:
    """Return the variant that was pickled as these arguments."""
    return variant(factory, options).stored_as(state_dtype, rounding)


@kept
def stored(rule: Any, state_dtype: str | tuple[tuple[str, str], ...] | None, rounding: str) -> Any:
    """Return a `Rule` with its states stored by these codecs. Raises what `Rule.stored_as`
    raises."""
    by_state = dict(state_dtype) if isinstance(state_dtype, tuple) else {}
    shaped = (rule, *map(rule.for_shape, ((2, 2), (2,))))
    known = dict.fromkeys(name for each in shaped for name in each.free)
    if unknown := [name for name in by_state if name not in known]:
        raise ValueError(
            f"state_dtype names {unknown[0]!r}; {suggestion(unknown[0], [*known])}the states of "
            f"{rule.name} that may have fewer bits are {', '.join(known) or 'none'}"
        )
    for name, codec in by_state.items():
        unsigned = without_sign(codec)
        if unsigned and any(name in each.free and name in never_negative(each) for each in shaped):
            raise ValueError(
                f"state_dtype[{name!r}] is {codec!r}, which has a sign, and {name} of {rule.name} is "
                f"never negative: small ones would become 0; expected {unsigned!r}"
            )
    given = by_state if isinstance(state_dtype, tuple) else state_dtype
    return dataclasses.replace(rule, state_dtype=given, rounding=rounding)
