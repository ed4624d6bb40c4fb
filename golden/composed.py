"""Cases of rules that are composed of parts: each part of `samestep.parts` has one at least."""

from __future__ import annotations

from typing import Any

from ..language.rule import Rule
from ..parts import (
    adaptively_clipped,
    cautious,
    cautious_decay,
    centralized,
    decoupled_decay,
    independent_decay,
    lookahead,
    rms_clipped,
    signed,
    trust_ratio,
)
from ..rules import registry
from .cases import ADAM, ADAM_LATER, CHANGES_FROM, MOMENTUM, RMSPROP, RMSPROP_LATER, SGD, Case

DTYPE = "float64"  # in which the truth says most; the text is the same in every dtype
LION = dict(lr=0.05, betas=(0.9, 0.97), weight_decay=0.1)
LION_LATER = dict(lr=0.03, betas=(0.8, 0.95))
ADAGRAD = dict(lr=0.1, lr_decay=0.1, weight_decay=0.05, initial_accumulator_value=0.1, eps=1e-6)

# the composed rule, its hyperparameters, and what changes from step 6 on
CASES: list[tuple[Rule, dict[str, Any], dict[str, Any]]] = [
    (cautious(registry["adamw"]), ADAM, ADAM_LATER),
    (cautious(registry["lion"]), LION, LION_LATER),
    (cautious_decay(registry["lion"]), LION, LION_LATER),
    (centralized(registry["sgd"]), MOMENTUM, dict(lr=0.04, momentum=0.7)),
    (
        adaptively_clipped(registry["sgd"]),
        dict(SGD, clip_ratio=0.02, clip_floor=2.0),
        dict(clip_ratio=0.015, clip_floor=2.1),
    ),
    (rms_clipped(registry["adamw"]), dict(ADAM, rms_limit=0.4), dict(ADAM_LATER, rms_limit=0.3)),
    (signed(registry["sgd"]), MOMENTUM, dict(lr=0.04, momentum=0.7)),
    (trust_ratio(registry["adam"]), ADAM, ADAM_LATER),
    (decoupled_decay(registry["adagrad"]), ADAGRAD, dict(lr=0.07, lr_decay=0.3)),
    (independent_decay(registry["rmsprop"]), RMSPROP, RMSPROP_LATER),
    (
        lookahead(registry["adamw"]),
        dict(ADAM, sync_period=3.0, slow_step=0.4),
        dict(ADAM_LATER, sync_period=2.0, slow_step=0.6),
    ),
]
RULES = {**registry, **{rule.name: rule for rule, _, _ in CASES}}  # that golden files are of


def composed_cases() -> list[Case]:
    """Return the cases of `CASES`, in their order."""
    return [Case(rule, DTYPE, hyper, {CHANGES_FROM: later}) for rule, hyper, later in CASES]
