"""The two modes of an optimizer whose rule trains at one point and evaluates another.

In training a parameter is ``y = share * x + (1 - share) * z``: x is the average that is to be
evaluated, z a state. So x and y lie on a line with z, and one text leads from either to the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

from ..language.rule import Rule
from ..parameters.clock import Clock
from ..protocol import Backend, Tensor
from .launches import Launches


def scalars(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Say how much of the way to z the parameter goes; backwards if that is negative."""
    return dict(toward_z=h.toward_z), carry


def update(xp: Any, s: Any, param: Any, grad: Any) -> Any:
    """Move the parameter on its line with z, which comes in the place of a gradient; an infinite
    one stays."""
    moved = param + s.toward_z * (grad - param)
    return xp.where(xp.finite_or_zero(param) == param, moved, param)


RULE = Rule(
    "change_mode",
    scalars,
    update,
    defaults=dict(toward_z=0.0),
    reference="Defazio et al., The Road Less Scheduled, arXiv:2405.15682: from y to x and back.",
)


MODE = "evaluating"  # the entry of groups that says so in state dicts


def is_evaluating(groups: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether the parameters of these groups, of a state dict, are averages."""
    return any(group.get(MODE, False) for group in groups)


def refuse_step() -> NoReturn:
    """Raise RuntimeError: no step is taken from averages."""
    raise RuntimeError(
        "the parameters are averages, for evaluation; opt.train() makes them those of training, from "
        "which steps are taken"
    )


def check_has_modes(rules: Sequence[Rule]) -> None:
    """Raise TypeError for rules that all evaluate what they train."""
    if all(rule.average_share is None for rule in rules):
        names = ", ".join(dict.fromkeys(rule.name for rule in rules))
        raise TypeError(
            f"{names} keeps no average, so there are no modes of training and evaluation; "
            "adamw_schedulefree has them"
        )


def change_mode(
    backend: Backend,
    tensors: Sequence[Tensor],
    clocks: Sequence[Clock],
    hyper: Sequence[dict[str, Any]],
    evaluating: bool,
) -> None:
    """Turn parameters in training into their averages, or these back. Those without a step are
    both.

    ``hyper`` are each group's hyperparameters. Whatever can raise, raises before anything is
    changed.
    """
    if backend.capturing():
        raise RuntimeError("eval() and train() cannot be captured; call them before or after")
    keys = [_toward_z(clock.rule, hyper[clock.group], evaluating) for clock in clocks]
    # without state, so that it may be their gradient
    bare = [tensor.with_state({}, written=True) for tensor in tensors]
    launches, places = Launches(backend, bare), zip(tensors, clocks, keys, strict=True)
    gradients = backend.gradient_checker(bare).accept(
        [tensor.state["z"] if clock.step and key else None for tensor, clock, key in places]
    )
    try:
        launches.choose(gradients.dtypes, lambda _: ([RULE] * len(keys), keys))
        for bucket in launches:
            bucket.set_rows([(key, 1.0) for key in bucket.keys])
            bucket.ready(gradients)
        for bucket in launches:
            bucket.run(gradients)
        backend.change_marker(tensors)()
    finally:
        gradients.release()


def _toward_z(rule: Rule, hyper: dict[str, Any], evaluating: bool) -> float:
    """Return how much of the way to z a parameter goes; 0 for one that is its own average."""
    if rule.average_share is None:
        return 0.0
    share = rule.average_share(SimpleNamespace(**hyper))
    return 1 - 1 / share if evaluating else 1 - share
