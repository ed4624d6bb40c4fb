"""Which rules take gradients of some rows: those whose text says that a zero gradient changes
nothing."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import off, on, random_like, refused, snapshot
from samestep.golden.compare import first_difference
from samestep.language.passes import program
from samestep.language.scalars import as_numbers, next_scalars
from samestep.language.zero_gradient import rests
from samestep.step.indexed_slices import IndexedSlices
from variants import AT_REST, options_of, variants


def row_of(rule, **hyper):
    numbers = as_numbers({**rule.defaults, **hyper})
    return next_scalars(rule, 4, rule.carry, numbers)[0]


@pytest.mark.parametrize("rule", variants(), ids=lambda rule: rule.label)
@pytest.mark.parametrize("decay", [0.0, 1e-300, 0.1])
def test_what_the_text_says_about_resting_is_so(rule, decay):
    """A step with a zero gradient, taken: it leaves everything if and only if the text says so."""
    if "weight_decay" not in rule.defaults and decay:
        return
    hyper = {"weight_decay": decay} if "weight_decay" in rule.defaults else {}
    if rule.name == "sm3":  # by beta2=1 its maxima stay what they are, which no text can say
        hyper["beta2"] = 0.9
    said = rests(rule, row_of(rule, **hyper))
    assert said == (rule.label in AT_REST | {"lars_no_momentum"} and not decay)
    if decay == 1e-300:  # which the text sees and rounding hides
        return
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal((40, 30)),
        rng.standard_normal((40, 30)) * 1e-30,
        np.zeros((5, 5)),
    ]
    optimizer = ss.Optimizer(rule, arrays, backend="numpy", **{**options_of(rule), **hyper})
    optimizer.step(random_like(arrays, 3))
    before = snapshot(optimizer)
    optimizer.step([np.zeros_like(a) for a in arrays])
    after = snapshot(optimizer)
    changed = [n for n in before if "step" not in n and first_difference(after[n], before[n])]
    assert (not changed) == said


@pytest.mark.parametrize("rule", variants(), ids=lambda rule: rule.label)
def test_other_rules_refuse_rows_unless_they_are_lazy(rule, any_backend):
    params = on(any_backend, [np.ones((4, 3)), np.ones(5)])
    grads = on(any_backend, [IndexedSlices(np.ones((2, 3)), np.array([1, 3])), np.ones(5)])
    hyper = {**options_of(rule), **({"weight_decay": 0} if "weight_decay" in rule.defaults else {})}
    if rule.lazy:
        hyper["lazy"] = False
    optimizer = ss.Optimizer(rule, params, backend=any_backend, **hyper)
    if program(rule).sums:
        with refused(
            optimizer, TypeError, r"params\[0\] is sparse, of some rows; .* compares or counts over"
        ):
            optimizer.step(grads)
    elif rule.average_share is not None:
        optimizer.param_groups[0]["lazy"] = True
        with refused(optimizer, TypeError, r"params\[0\] is sparse, of some rows; .* averages all"):
            optimizer.step(grads)
    elif rule.label in AT_REST:
        optimizer.step(grads)
        after = off(any_backend, params[0])
        assert (after[[0, 2]] == 1).all()
        assert (after[[1, 3]] != 1).all()
    else:
        with refused(optimizer, TypeError, r"params\[0\] is sparse.*Give a dense one, or leave"):
            optimizer.step(grads)
        optimizer.param_groups[0]["lazy"] = True
        optimizer.step(grads)
        assert optimizer.steps == [1, 1]


@pytest.mark.parametrize("per", ["tensor", "row", "column"])
def test_a_rule_that_counts_elements_takes_rows_if_it_counts_those_of_a_row(per):
    rule = ss.Rule(
        "own",
        lambda xp, step, carry, h: (dict(lr=h.lr), carry),
        lambda xp, s, param, grad: param - s.lr * (grad / xp.size(grad, per=per)),
        dict(lr=0.25),
    )
    param = np.ones((4, 2))
    optimizer = ss.Optimizer(rule, param, backend="numpy")
    rows = IndexedSlices(np.ones((2, 2)), np.array([0, 2]))
    if per == "row":
        optimizer.step(rows)
        assert param.tolist() == [[0.875] * 2, [1, 1]] * 2
        return
    with refused(optimizer, TypeError, r"is sparse, of some rows; own .* or counts over all"):
        optimizer.step(rows)


def test_a_text_that_hides_its_zero_is_not_trusted():
    def update(xp, s, param, grad, total):
        kept = xp.where(grad > 0, total, total)  # at rest, but not by the words that are known
        return param - s.lr * grad, kept

    rule = ss.Rule("own", lambda xp, step, carry, h: (dict(lr=h.lr), carry), update, dict(lr=0.1))
    assert not rests(rule, {"lr": 0.1})
