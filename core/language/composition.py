"""Composition: a rule made from another one, which it changes before, after or beside its
arithmetic.

`composed` changes the gradient that a rule sees, the delta that it subtracts, or the weight decay
beside it. The result is a rule like any other: it is traced, fused, printed and exported as if it
had been written out.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .around import OF_16_BITS, prefix
from .hyperparameters import Option
from .kept import kept, kept_while_used
from .results import as_tuple
from .rule import Rule
from .tracer import trace_scalars

Function = Callable[..., Any]


def composed(
    rule: Rule,
    name: str,
    *,
    grad: Function | None = None,
    delta: Function | None = None,
    decay: Function | None = None,
    row: Function | None = None,
    defaults: Mapping[str, Any] = {},
    bounds: Mapping[str, Any] = {},
) -> Rule:
    """Return the rule ``name`` that does what ``rule`` does, with something changed.

    Parameters
    ----------
    grad : callable
        ``grad(xp, s, param, grad) -> grad``: the gradient that the rule sees.
    delta : callable
        ``delta(xp, s, param, grad, delta) -> delta``: what is subtracted, instead of the rule's.
    decay : callable
        ``decay(xp, s, param, delta)``: what weight decay subtracts, instead of the rule's.
    row : callable
        ``row(xp, step, h) -> dict``: scalars that these functions need besides the rule's. Without
        it these are the new hyperparameters.
    defaults, bounds : mapping
        Hyperparameters besides the rule's.

    Raises
    ------
    TypeError
        For a change of the delta or the decay of a rule that is written as an ``update``.
    ValueError
        If a hyperparameter or a scalar has the name of one of the rule's own.
    """
    if (delta or decay) and rule.delta is None:
        raise TypeError(
            f"{name}: rule {rule.name!r} is written as an update of the parameter, so what it "
            "subtracts cannot be changed; write it as Rule(..., delta=...)"
        )
    if row is None and defaults:
        row = _as_they_are(tuple(defaults))
    function = rule.delta or rule.update
    if grad is not None:
        function = _with_grad(function, grad)
    if delta is not None:
        function = _with_delta(function, delta)
    written: dict[str, Any] = {"delta": function} if rule.delta else {"update": function}
    result = dataclasses.replace(
        rule,
        name=name,
        scalars=rule.scalars if row is None else _with_row(rule.scalars, row),
        **written,
        decay=decay or rule.decay,
        defaults={**rule.defaults, **defaults},
        bounds={**rule.bounds, **bounds},
        options={},
        choices={},
        factory=None,
        shape_options=None,
    )
    own = {*rule.defaults, *trace_scalars(rule)[0]}
    if clash := sorted(own & {*defaults, *_names(result, row)}):
        raise ValueError(
            f"rule {rule.name!r} has a hyperparameter or a scalar of its own named {clash[0]!r}"
        )
    return result


def _as_they_are(names: tuple[str, ...]) -> Function:
    def row(xp: Any, step: Any, h: Any) -> Any:
        return {name: getattr(h, name) for name in names}

    return row


def _names(rule: Rule, row: Function | None) -> set[str]:
    """Return the names of the scalars that ``row`` computes from this rule's hyperparameters."""
    if row is None:
        return set()
    return {*trace_scalars(dataclasses.replace(rule, scalars=_with_row(_nothing, row)))[0]}


def _nothing(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    return {}, carry


def _with_grad(function: Function, change: Function) -> Function:
    @functools.wraps(function, updated=())
    def changed(xp: Any, s: Any, param: Any, grad: Any, *state: Any) -> Any:
        grad = change(xp, s, param, grad)
        return function(xp, s, param, grad, *state)

    return changed


def _with_delta(function: Function, change: Function) -> Function:
    @functools.wraps(function, updated=())
    def changed(xp: Any, s: Any, param: Any, grad: Any, *state: Any) -> Any:
        delta, *after = as_tuple(function(xp, s, param, grad, *state))
        delta = change(xp, s, param, grad, delta)
        return (delta, *after)

    return changed


def _with_row(scalars: Function, row: Function) -> Function:
    @functools.wraps(scalars)
    def changed(xp: Any, step: Any, carry: Any, h: Any) -> Any:
        own, carry = scalars(xp, step, carry, h)
        return {**own, **row(xp, step, h)}, carry

    return changed


def around(
    rule: Rule,
    name: str,
    value: Any,
    update: Function,
    *,
    states: tuple[str, ...],
    codec: str | None,
    scalars: Function | None = None,
    names: Iterable[str] = (),
    defaults: Mapping[str, Any] = {},
    carry: Mapping[str, float] = {},
) -> Rule:
    """Return the rule with a part around its ``update`` that the hyperparameter ``name`` asks for,
    by ``value``.

    It keeps more ``states``, the last ones, stored by ``codec`` whatever ``state_dtype`` says; None
    is the compute dtype. ``names`` are those of its scalars and carries. Raises ValueError if the
    rule has one of these names, or a part that does not go with this one.
    """
    if name in rule.around:
        raise ValueError(f"{name}: rule {rule.name!r} has it already")
    for other in OF_16_BITS:
        if name in OF_16_BITS and other in rule.around:
            raise ValueError(f"{name} goes with no {other}: each keeps what rounding would lose")
    check_names_apart(name, rule, {*states, *names, *defaults})
    return dataclasses.replace(
        rule,
        name=f"{prefix(name, value)}{rule.name}",
        scalars=scalars or rule.scalars,
        update=with_states(update, rule, *states),
        delta=None,
        decay=None,
        defaults={**rule.defaults, **defaults},
        carry={**rule.carry, **carry},
        around={**rule.around, name: value},
        kept_in={**rule.kept_in, **dict.fromkeys(states, codec)},
    )


def check_names_apart(part: str, rule: Rule, names: Iterable[str]) -> None:
    """Raise ValueError if ``rule`` has a name that a part of this name needs."""
    own = {*rule.state, *rule.defaults, *rule.carry, *trace_scalars(rule)[0]}
    if taken := sorted(own.intersection(names)):
        raise ValueError(f"{part}: rule {rule.name!r} has a {taken[0]!r} of its own")


def with_states(update: Function, rule: Rule, *states: str) -> Function:
    """Return ``update`` with the arguments of the rule's own, and more ``states`` as the last."""
    return with_arguments(update, (*rule.state, *states))


def with_arguments(update: Function, states: Iterable[str]) -> Function:
    """Return ``update`` with these ``states`` as its arguments behind the usual ones."""
    names = ("xp", "s", "param", "grad", *states)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in names]
    update.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return update


def part(make: Callable[..., Rule]) -> Callable[..., Rule]:
    """Have ``make``, which composes a rule with something, return the same rule each time, with the
    structural options of the rule that it takes."""

    keep = kept_while_used if "<locals>" in make.__qualname__ else kept

    @keep
    def composition(rule: Rule, *args: Any) -> Rule:
        return dataclasses.replace(
            make(rule, *args),
            factory=Family(compose, rule, args),
            options=rule.options,
            choices=rule.choices,
            shape_options=rule.shape_options,
        )

    @functools.wraps(make)
    def compose(rule: Rule, *args: Any) -> Rule:
        if not isinstance(rule, Rule):
            raise TypeError(
                f"{make.__name__} takes a Rule, not {rule!r}; the built-in ones are in "
                "samestep.rules.registry"
            )
        return composition(rule, *args)

    return compose


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """The factory of a composed rule: it composes the variant of the rule that is asked for."""

    compose: Callable[..., Rule]
    rule: Rule
    args: tuple[Any, ...]

    def __call__(self, **options: Option) -> Rule:
        usual = self.rule.factory().options if self.rule.factory else {}
        return self.compose(self.rule.variant(**{**usual, **options}), *self.args)

    def __reduce__(self) -> Any:  # without what is kept with it
        return Family, (self.compose, self.rule, self.args)


def inside(rule: Rule) -> Rule:
    """Return the rule that the parts of ``rule.around`` were put around, the last ones of all."""
    while isinstance(rule.factory, Family) and rule.factory.rule.around != rule.around:
        rule = rule.factory.rule
    return rule


def names_of_parts(rule: Rule) -> set[str]:
    """Return the names of the states and carries that the parts of ``rule.around`` keep. What they
    start from fits at any step."""
    own = inside(rule)
    return {*(rule.kept_in.keys() - own.kept_in.keys()), *(rule.carry.keys() - own.carry.keys())}
