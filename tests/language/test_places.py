"""Messages about a rule's text say in which file and line it stands."""

from __future__ import annotations

import re

import numpy as np
import pytest
import samestep as ss


def scalars(xp, step, carry, h):
    return dict(lr=h.lr), carry


def optimizer(update, scalars=scalars):
    return ss.Optimizer(ss.Rule("own", scalars, update, defaults=dict(lr=1.0)), np.ones(3))


def place(line: int) -> str:
    return re.escape(f" ({__file__}, line {line})")


def test_the_line_that_is_refused_is_named():
    def update(xp, s, param, grad):
        scaled = s.lr * grad
        return param - scaled**2

    line = update.__code__.co_firstlineno + 2
    with pytest.raises(TypeError, match=rf"\*\* is not for values.*{place(line)}\. update may use"):
        optimizer(update)


def test_a_line_of_a_function_that_the_rule_calls_is_named():
    def squared(value):
        return value**2

    def update(xp, s, param, grad):
        return param - s.lr * squared(grad)

    with pytest.raises(TypeError, match=place(squared.__code__.co_firstlineno + 1)):
        optimizer(update)


def test_where_no_line_is_wrong_the_function_is_named():
    def update(xp, s, param, grad):
        return param, grad

    first = update.__code__.co_firstlineno
    with pytest.raises(
        TypeError, match=rf"update must return param; it returned 2 values{place(first)}"
    ):
        optimizer(update)

    def counted(xp, step, carry, h):
        return dict(lr=h.lr)

    first = counted.__code__.co_firstlineno
    with pytest.raises(TypeError, match=rf"must return a dict and the carry, not .*{place(first)}"):
        optimizer(lambda xp, s, param, grad: param, counted)


def test_control_lines_of_the_library_are_not_named():
    rule = ss.Rule(
        "own", scalars, delta=lambda xp, s, param, grad: 1 if grad else 2, defaults={"lr": 1.0}
    )
    with pytest.raises(TypeError, match="a value has no truth value") as caught:
        ss.Optimizer(rule, np.ones(3))
    assert __file__ in str(caught.value)
    assert "core/language" not in str(caught.value)
