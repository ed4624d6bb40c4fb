"""A rule whose text depends on anything but the values of its arguments is refused when an
optimizer is made: the reference, which runs the text, would give other numbers than those that run
its trace."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import samestep as ss
from samestep.golden.cases import variants
from samestep.language import text_checks
from samestep.language.text_checks import check

calls = itertools.count(1)


def scalars(xp, step, carry, h):
    return dict(lr=h.lr), carry


def update(xp, s, param, grad):
    return param - s.lr * grad


def rule(**changed) -> ss.Rule:
    return ss.Rule(
        **dict(name="own", scalars=scalars, update=update, defaults=dict(lr=0.1)) | changed
    )


def random_numbers(xp, s, param, grad):
    return param - s.lr * grad * random.gauss(1, 0.1)


def a_counter(xp, s, param, grad):
    return param - s.lr * grad / next(calls)


def the_type_of_an_array(xp, s, param, grad):
    return param - s.lr * grad if isinstance(param, np.ndarray) else param - grad


def an_attribute_of_arrays(xp, s, param, grad):
    return param - s.lr * (grad / grad.size if hasattr(grad, "size") else grad)


def an_error_of_a_trace(xp, s, param, grad):
    try:
        return param - s.lr * grad**2
    except TypeError:
        return param - s.lr * grad


def the_vocabulary_s_type(xp, s, param, grad):
    return param - grad * (2 if hasattr(xp, "dtype") else 1)


def a_sum_over_some(xp, s, param, grad):
    axis = "row" if isinstance(grad, np.ndarray) else "column"
    return param - xp.sum(grad, per=axis)


UPDATES = [
    random_numbers,
    a_counter,
    the_type_of_an_array,
    an_attribute_of_arrays,
    an_error_of_a_trace,
    the_vocabulary_s_type,
    a_sum_over_some,
]


@pytest.mark.parametrize("impure", UPDATES, ids=lambda each: each.__name__)
def test_an_impure_update_is_refused(impure, any_backend):
    array = ss.get_backend(any_backend).asarray(np.ones((2, 3), np.float32))
    with pytest.raises(TypeError, match="update gives another param on numbers than its trace"):
        ss.Optimizer(rule(update=impure), [array], backend=any_backend)


def drawn(xp, step, carry, h):
    return dict(lr=h.lr * random.random()), carry


def the_type_of_a_number(xp, step, carry, h):
    return dict(lr=h.lr if isinstance(step, float) else 2 * h.lr), carry


def counted_in_the_carry(xp, step, carry, h):
    return dict(lr=h.lr), dict(kept=carry.kept + next(calls))


@pytest.mark.parametrize(
    ("impure", "name"),
    [(drawn, "lr"), (the_type_of_a_number, "lr"), (counted_in_the_carry, "kept")],
)
def test_impure_scalars_are_refused(impure, name):
    carry = dict(kept=0.0) if name == "kept" else {}
    with pytest.raises(TypeError, match=f"scalars gives another {name} on numbers than its trace"):
        check(rule(scalars=impure, carry=carry))


def test_a_text_that_can_only_be_traced_is_refused():
    def traced_only(xp, s, param, grad):
        return param - s.lr * (None if hasattr(grad, "dtype") else grad)

    with pytest.raises(TypeError, match="update can be traced but fails on arrays: unsupported"):
        check(rule(update=traced_only))


def test_every_built_in_rule_passes_and_nothing_random_is_used():
    before = random.getstate(), np.random.get_state()[1].tobytes()
    for each in variants():
        check.__wrapped__(each)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_a_scalar_may_be_called_like_a_state():
    def update_of_two(xp, s, param, grad, lr):
        return param - s.lr * grad, lr + grad

    check(rule(update=update_of_two))


def test_control_without_the_comparison_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(text_checks, "_compare", lambda *args: None)
    check(rule(update=the_type_of_an_array))
