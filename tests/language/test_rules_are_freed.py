"""Rules that are made at run time, in a function or a loop, are freed with what was found out about
them: traces, passes, variants, what backends make of them."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import samestep as ss
from helpers import on, step
from samestep.language.composition import composed, part
from samestep.language.kept import RESULTS
from samestep.language.passes import program


def scalars(xp, step, carry, h):
    return dict(lr=h.lr), carry


def made(factor: float) -> ss.Rule:
    """A rule with a variant, whose functions are as new as itself."""

    def update(xp, s, param, grad):
        return param - s.lr * factor * grad

    def factory(doubled=False):
        def doubled_update(xp, s, param, grad):
            return param - s.lr * (2 * factor) * grad

        return ss.Rule(
            "made",
            scalars,
            doubled_update if doubled else update,
            defaults=dict(lr=0.1),
            options=dict(doubled=doubled),
            factory=factory,
        )

    return factory()


@pytest.mark.parametrize("clips", [{}, dict(clip_value=1.0, clip_norm=1.0)], ids=["", "clipped"])
def test_a_rule_is_freed_with_its_optimizer(clips, any_backend):
    rule = made(0.5)
    variant = rule.variant(doubled=True)
    assert variant is rule.variant(doubled=True) is not rule
    param = on(any_backend, np.ones((3, 4), np.float32))
    optimizer = ss.Optimizer(rule, [param], backend=any_backend, doubled=True, **clips)
    step(optimizer, [np.ones((3, 4), np.float32)])
    ss.emit(rule, "c")
    living = [weakref.ref(each) for each in (rule, variant, program(rule), rule.update)]
    del rule, variant, optimizer, param
    gc.collect()
    assert [each() for each in living] == [None] * 4


def test_a_part_made_in_a_function_is_freed_with_what_it_composes():
    """The rule inside is a built-in one, which stays."""

    def grad(xp, s, param, grad):
        return 0.5 * grad

    @part
    def halved(rule):
        return composed(rule, f"halved_{rule.name}", grad=grad)

    rule = halved(ss.rules.registry["adamw"])
    assert halved(ss.rules.registry["adamw"]) is rule
    ss.Optimizer(rule, [np.ones(3)], backend="numpy", average="ema").step([np.ones(3)])
    living = [weakref.ref(each) for each in (rule, halved)]
    del rule, halved
    gc.collect()
    assert [each() for each in living] == [None] * 2


def test_control_a_rule_in_use_is_not_freed():
    rule = made(0.5)
    known = program(rule)
    gc.collect()
    assert program(rule) is known


def test_what_was_found_out_is_not_pickled():
    rule = ss.Rule("plain", scalars, step_down, defaults=dict(lr=0.1))
    program(rule)
    for other in (pickle.loads(pickle.dumps(rule)), copy.deepcopy(rule)):
        assert RESULTS not in vars(other)
        assert program(other).scalars == program(rule).scalars


def step_down(xp, s, param, grad):
    return param - s.lr * grad
