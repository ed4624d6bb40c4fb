"""Which states are proved never to be negative."""

from __future__ import annotations

import pytest
import samestep as ss
from samestep.language.signs import never_negative


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("adamw", dict(amsgrad=True), {"exp_avg_sq", "max_exp_avg_sq"}),
        ("adadelta", {}, {"square_avg", "acc_delta"}),
        ("rmsprop", dict(centered=True, momentum=0.9), {"square_avg"}),
        ("adamax", {}, {"exp_inf"}),
        ("rprop", {}, {"step_size"}),
        ("yogi", {}, set()),  # it is not, but that takes more than signs
        ("lion", {}, set()),
    ],
)
def test_states_of_rules(name, options, expected):
    assert never_negative(ss.rules.registry[name].variant(**options)) == expected


def rule(text, initial: float = 0.0, **defaults: float) -> ss.Rule:
    """A rule whose one state follows from ``text(xp, s, grad, last)``."""

    def scalars(xp, step, carry, h):
        return dict(rate=h.rate, falling=2.5 - step), carry

    def update(xp, s, param, grad, last):
        return param - s.rate * grad, text(xp, s, grad, last)

    found = dict(rate=1.0) | defaults
    return ss.Rule("own", scalars, update, defaults=found, initial=dict(last=initial))


@pytest.mark.parametrize(
    ("text", "proved"),
    [
        (lambda xp, s, grad, last: last + s.rate * (grad * grad), True),
        (lambda xp, s, grad, last: last - s.rate * (grad * grad), False),
        (lambda xp, s, grad, last: last - s.rate * -xp.abs(grad), True),
        (lambda xp, s, grad, last: last * grad, False),
        (lambda xp, s, grad, last: xp.maximum(grad, last), True),
        (lambda xp, s, grad, last: xp.minimum(grad, last), False),
        (lambda xp, s, grad, last: xp.where(grad > 0, grad, last), False),
        (lambda xp, s, grad, last: xp.where(grad > 0, last, xp.sqrt(last)), True),
        (lambda xp, s, grad, last: (-last) * (-2.0) / 3.0, True),
        (lambda xp, s, grad, last: xp.stored(xp.finite_or_zero(xp.sign(last))), True),
        (lambda xp, s, grad, last: last * s.falling, True),
        (lambda xp, s, grad, last: last * (s.falling - 1), False),
    ],
)
def test_signs_of_operations(text, proved):
    assert never_negative(rule(text)) == ({"last"} if proved else set())


def test_scalars_and_first_values_count():
    def summed(xp, s, grad, last):
        return last + s.rate * (grad * grad)

    assert never_negative(rule(summed, rate=-1.0)) == set()
    assert never_negative(rule(summed, initial=-1.0)) == set()
