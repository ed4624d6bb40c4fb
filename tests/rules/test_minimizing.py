"""Every variant of every rule minimizes: a quadratic, and Rosenbrock's valley."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from minimized import QUADRATIC, ROSENBROCK, Function
from variants import options_of, variants

STEPS = 400
RATES = (0.1, 0.03, 0.01, 0.3, 3.0, 30.0)  # one of them suits each rule


def goes_down(rule: ss.Rule, function: Function, share: float) -> bool:
    """Whether the last step has less than this share of the first loss, with one of the rates."""
    return any(last(rule, function, lr) < share * function.first for lr in RATES)


def last(rule: ss.Rule, function: Function, lr: float) -> float:
    x, hyper = np.array(function.start), {**options_of(rule), "lr": lr}
    if "weight_decay" in rule.defaults:
        hyper["weight_decay"] = 0.0
    optimizer = ss.Optimizer(rule, [x], backend="numpy", **hyper)
    for _ in range(STEPS):
        grad = function.of(x)[1]
        if not np.isfinite(grad).all() or np.abs(x).max() > 1e6:
            return np.inf
        optimizer.step([grad])
    if rule.average_share is not None:
        optimizer.eval()
    return function.of(x)[0]


@pytest.mark.parametrize("rule", variants(), ids=lambda rule: rule.label)
def test_a_quadratic_and_a_valley_are_gone_down(rule):
    assert goes_down(rule, QUADRATIC, 0.01)
    assert goes_down(rule, ROSENBROCK, 0.1)


def test_control_a_rule_that_goes_up_is_noticed():
    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    rule = ss.Rule("up", scalars, lambda xp, s, param, grad: param + s.lr * grad, dict(lr=0.1))
    assert not goes_down(rule, QUADRATIC, 1.0)
