"""The rules that are compared: every variant of every built-in one, and those composed of parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import samestep as ss
from samestep.golden.composed import CASES
from stored_formats import Format
from variants import every_variant, options_of

BACKEND = "numpy"  # all have the same bits, and this one compiles nothing
RULES: dict[str, ss.Rule] = {
    rule.label: rule for rule in [*every_variant(), *(rule for rule, _, _ in CASES)]
}


def hyper_of(rule: ss.Rule) -> dict[str, Any]:
    """Return the hyperparameters that a rule is compared with, besides its learning rate: its
    defaults, but without weight decay."""
    decay = {"weight_decay": 0.0} if "weight_decay" in rule.defaults else {}
    return {**options_of(rule), **decay}


@dataclass(frozen=True)
class Trained(Format):
    """A rule with its hyperparameters, for trainings that take a format: here float32."""

    rule: ss.Rule | str = "adamw"
    hyper: Mapping[str, Any] = field(default_factory=dict)

    def optimizer(self, params: Any, seed: int = 0) -> ss.Optimizer:
        return ss.Optimizer(self.rule, params, backend=BACKEND, **self.hyper)
