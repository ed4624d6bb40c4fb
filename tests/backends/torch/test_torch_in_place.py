"""Where the values of a rule's text live: no operation overwrites what another still needs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import samestep as ss
import torch
from samestep.backends.torch import in_place, operations
from samestep.language import kept
from samestep.language.passes import program
from samestep.language.tracer import COMPARISONS
from torch import fx
from torch.utils._python_dispatch import TorchDispatchMode
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


def all_operations(rule):
    for launch in program(rule).launches:
        for scaled in (False, True):
            yield operations.operations(rule, *launch, scaled, torch.float32)


def per_of_inputs(rule, each):
    names = ["param", *rule.state]
    arrays = [n for n in names if (rule.per.get(n) is None) == each.in_pass]
    pers = [*(rule.per.get(n, "element") for n in arrays), *["element"] * each.in_pass]
    numbers = len(program(rule).scalars) + 1 + len(program(rule).size_kinds)
    received = [node.per for node in each.received]
    return ["scalar"] * numbers + received + pers + ["scalar"] * len(each.constants)


def same(x, y):
    return torch.allclose(x, y, rtol=0, atol=0, equal_nan=True)


def mistakes(rule):
    """Inputs that do not hold afterwards what the pure graph computes from the same numbers."""
    found = []
    for each in all_operations(rule):
        torch.manual_seed(0)
        shapes = [SHAPES.get(per, ()) for per in per_of_inputs(rule, each)]
        given = [torch.rand(shape, dtype=torch.float64) + 0.5 for shape in shapes]
        numbers = len(program(rule).scalars) + 1 + len(program(rule).size_kinds)
        for k, node in enumerate(each.received, numbers):
            if node.op in COMPARISONS:
                given[k] = given[k] > 1
        pure = fx.Interpreter(fx.GraphModule({}, each.graph))
        with np.errstate(invalid="ignore"):  # a root of what is no second moment
            results = pure.run(*[x.clone() for x in given])
        names = [node for node in each.graph.nodes if node.op == "placeholder"]
        expected = dict(zip(names, given, strict=True))
        expected |= {
            each.arrays[k]: value.broadcast_to(expected[each.arrays[k]].shape)
            for k, value in zip(each.written, results, strict=False)
        }
        plan, given = in_place.in_place(each), [x.clone() for x in given]
        memory = [torch.full(SHAPE, torch.nan, dtype=torch.float64) for _ in range(plan.buffers)]
        memory += [torch.zeros(SHAPE, dtype=torch.bool) for _ in range(plan.conditions)]
        with np.errstate(invalid="ignore"):
            returned = plan.function(*given, *memory)
        found += [n for n, x in zip(names, given, strict=True) if not same(x, expected[n])]
        rest = zip(returned, results[len(each.written) :], strict=True)
        found += ["returned" for x, y in rest if not same(x, y)]
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
    monkeypatch.setattr(kept, "RESULTS", "faulty_results")
    assert any(mistakes(rule) for rule in RULES)


class Counted(TorchDispatchMode):
    """Counts operations, and the arrays of the parameter's shape that they read and write."""

    operations = accesses = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        result = op(*args, **(kwargs or {}))
        arrays = [x for x in args if isinstance(x, torch.Tensor) and x.shape == SHAPE]
        self.operations += 1
        self.accesses += len({id(x) for x in arrays}) + (result.shape == SHAPE)
        return result


def test_what_adamw_needs(monkeypatch):
    """Two buffers besides what is there; 15 operations, 16 where a coefficient comes first, that
    read and write 35 arrays; nothing is copied."""
    monkeypatch.setitem(operations.FUNCTIONS, "sqrt", torch.sqrt)  # where it is seen
    rule = dataclasses.replace(ss.rules.registry["adamw"])
    expected = ((15, 35), (16, 37))
    for each, (calls, accesses) in zip(all_operations(rule), expected, strict=True):
        plan = in_place.in_place(each)
        assert (plan.buffers, plan.conditions) == (2, 0)
        given = [torch.ones(SHAPES.get(per, ())) for per in per_of_inputs(rule, each)]
        buffers = torch.empty(SHAPE), torch.empty(SHAPE)
        with Counted() as counted:
            plan.function(*given, *buffers)
        assert (counted.operations, counted.accesses) == (calls, accesses)
