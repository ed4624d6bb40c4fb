"""Where the values of a rule's text live: no operation overwrites what another still needs."""

from __future__ import annotations

import pytest
import samestep as ss
import torch
from samestep.backends.torch import in_place
from samestep.backends.torch.text import sums_of, text_of_pass
from samestep.language.passes import program
from torch import fx
from variants import variants

SHAPE = (1, 6, 5)
SHAPES = {"element": SHAPE, "row": (1, 6, 1), "column": (1, 1, 5), "tensor": (1, 1, 1)}


def scalars(xp, step, carry, h):
    return dict(lr=h.lr), carry


def each_other_s_old_value(xp, s, param, grad, a, b):
    return param, b, a


def the_old_parameter_and_the_gradient(xp, s, param, grad, a, b):
    return a, grad, param


def all_need_the_old_parameter(xp, s, param, grad, a, b):
    return param - grad, param * grad, param + a


def one_value_for_two(xp, s, param, grad, a, b):
    step = param - grad
    return step * a, step, step


def never_read(xp, s, param, grad, a, b):
    return param - s.lr * grad, grad * grad, 3


def a_choice(xp, s, param, grad, a, b):
    return xp.where(grad > a, b, param) * (grad + a), a + b, b - a


def would_fit_into_each_other_s_memory(xp, s, param, grad, a, b):
    new = param * grad
    return a + new, new, b


OWN = [
    ss.Rule(update.__name__, scalars, update, defaults=dict(lr=0.1))
    for update in (
        each_other_s_old_value,
        the_old_parameter_and_the_gradient,
        all_need_the_old_parameter,
        one_value_for_two,
        never_read,
        a_choice,
        would_fit_into_each_other_s_memory,
    )
]
RULES = [*variants(), *OWN]


def texts(rule):
    scalars = (*program(rule).scalars, "grad_coefficient")
    for known in range(len(sums_of(rule)) + 1):
        for scaled in (False, True):
            yield text_of_pass(rule, scalars, known, scaled)


class Exactly(fx.Interpreter):
    def call_function(self, target, args, kwargs):
        return in_place.OPERATIONS[target](*args, **kwargs)


def mistakes(rule):
    """Inputs that do not hold afterwards what the pure graph computes from the same numbers."""
    found = []
    for text in texts(rule):
        torch.manual_seed(0)
        shapes = [SHAPES.get(per, ()) for per in text.pers] + [()] * len(text.constants)
        given = [torch.rand(shape, dtype=torch.float64) + 0.5 for shape in shapes]
        results = Exactly(fx.GraphModule({}, text.graph)).run(*[x.clone() for x in given])
        names = [node for node in text.graph.nodes if node.op == "placeholder"]
        expected = dict(zip(names, given, strict=True))
        expected |= {
            text.arrays[k]: value.broadcast_to(SHAPE)
            for k, value in zip(text.written, results, strict=False)
        }
        plan, given = in_place.in_place(text), [x.clone() for x in given]
        memory = [torch.full(SHAPE, torch.nan, dtype=torch.float64) for _ in range(plan.buffers)]
        memory += [torch.zeros(SHAPE, dtype=torch.bool) for _ in range(plan.conditions)]
        returned = plan.function(*given, *memory)
        found += [n for n, x in zip(names, given, strict=True) if not torch.equal(x, expected[n])]
        rest = zip(returned, results[len(text.written) :], strict=True)
        found += ["returned" for x, y in rest if not torch.equal(x, y)]
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.label)
def test_nothing_is_overwritten_that_is_needed(rule):
    assert not mistakes(rule)


def first_uses(position):
    return {n: min((position[user] for user in n.users), default=0) for n in position}


def old_memory_always_fits(self, node, kind, place):
    return kind == (place[0] if isinstance(place, tuple) else "buffer")


@pytest.mark.parametrize(
    "fault",
    [(in_place, "_last_uses", first_uses), (in_place._Places, "_fits", old_memory_always_fits)],
    ids=["freed too early", "in memory that a new value needs"],
)
def test_control_a_wrong_plan_is_noticed(fault, monkeypatch):
    monkeypatch.setattr(*fault)
    in_place.in_place.cache_clear()
    try:
        assert any(mistakes(rule) for rule in RULES)
    finally:
        in_place.in_place.cache_clear()


def test_what_adamw_needs():
    """Two buffers besides what is there; nothing is copied."""
    plan, scaled = map(in_place.in_place, texts(ss.rules.registry["adamw"]))
    assert (plan.buffers, plan.conditions, plan.operations, plan.accesses) == (2, 0, 14, 33)
    assert scaled.operations == 15
