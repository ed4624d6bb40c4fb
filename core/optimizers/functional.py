"""The functional form of an optimizer: nothing is changed in place."""

from __future__ import annotations

import copy
from typing import Any

from ..language.around import STRUCTURAL
from ..language.hyperparameters import check_options
from ..language.rule import Rule
from ..parameters.entries import check_one_rule
from ..parameters.hyper import numbers_at
from ..parameters.trees import listed
from ..parts.by_keyword import variant_of
from .optimizer import Optimizer


def init(rule: Rule, params: Any, *, backend: str | None = None, **hyper: Any) -> dict[str, Any]:
    """Make the state of a functional optimization that starts at ``params``.

    Raises TypeError or ValueError as `samestep.Optimizer` does, and for groups of other rules.
    """
    params = listed(params)
    _check_no_copies(hyper)
    check_one_rule(rule, params, "init", rules=hyper.get("rules"))
    return Optimizer(rule, copy.deepcopy(params), backend=backend, **hyper).state_dict()


def apply(
    rule: Rule,
    params: Any,
    grads: Any,
    state: dict[str, Any],
    *,
    backend: str | None = None,
    **hyper: Any,
) -> tuple[Any, dict[str, Any]]:
    """Take one step that leaves its arguments as they are: new parameters and new state.

    Hyperparameters that are not given are those of ``state``.
    """
    from ..checkpoint.state_dict import SETTINGS

    params = listed(params)
    _check_no_copies(hyper)
    check_one_rule(rule, params, "apply", rules=hyper.get("rules"))
    settings = {name: hyper[name] for name in SETTINGS if name in hyper}
    hyper = {name: value for name, value in hyper.items() if name not in SETTINGS}
    first = state["param_groups"][0]
    saved = {name: first[name] for name in rule.known_hyperparameters}
    numbers = numbers_at(rule, {**saved, **hyper}, state["steps_taken"], others=SETTINGS)
    variant = variant_of(rule, first, first["options"])
    check_options(variant, numbers, when="init made this state", advice="pass it to init")
    params = copy.deepcopy(params)
    kept = ("state_dtype", "rounding", *STRUCTURAL)
    start = {name: first[name] for name in (*rule.options, *rule.defaults, *kept)}
    for name, on in first["options"].items():
        if on and not start[name]:  # momentum that has become zero: its buffer is still there
            start[name] = 1.0
    optimizer = Optimizer(rule, params, backend=backend, **start)
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        group.update(hyper)
    for name, value in settings.items():
        setattr(optimizer, name, value)
    optimizer.step(grads)
    return params, optimizer.state_dict()


Rule.init, Rule.apply = init, apply


def _check_no_copies(hyper: dict[str, Any]) -> None:
    if hyper.get("copy_to") is not None:
        raise TypeError(
            "copy_to is for optimizers, which write into arrays of the caller's: round what apply returns"
        )
