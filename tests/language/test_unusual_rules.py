"""Forms that no built-in rule has, but one's own may: NumPy, the compiled backends and printed C
agree on them, too."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer
from helpers import off, on, step
from samestep.golden.compare import first_difference


def scalars(xp, step, carry, h):
    return dict(lr=h.lr, keep=0.5, take=0.5), carry


def row_state_that_is_only_kept(xp, s, param, grad, kept):
    return param - s.lr * grad, s.keep * kept + 1


def column_state_read_before_it_changes(xp, s, param, grad, kept):
    return param - kept * grad, s.keep * kept + s.take * xp.mean(grad, per="column")


def tensor_state_read_in_the_first_pass(xp, s, param, grad, kept):
    scaled = grad * (1 + kept)
    return param - s.lr * scaled, s.keep * kept + xp.norm(scaled)


def a_sum_that_needs_a_sum(xp, s, param, grad, average):
    mean = xp.mean(grad)
    centered = grad - mean
    spread = xp.sqrt(xp.mean(centered * centered))
    average = s.keep * average + s.take * (centered / spread)
    return param - s.lr * average, average


def a_sum_used_as_it_is(xp, s, param, grad):
    return param - s.lr * xp.sum(grad)


def state_that_stays_and_state_that_is_the_gradient(xp, s, param, grad, constant, previous):
    return param - s.lr * (grad - previous) - constant, constant, grad


def the_old_value_after_the_new(xp, s, param, grad, average):
    new = s.keep * average + s.take * grad
    norm = xp.norm(new)
    return param - s.lr * (new - average) / norm, new


def rows_of_the_parameter_against_columns_of_the_gradient(xp, s, param, grad):
    rows = xp.norm(param, per="row")
    columns = xp.norm(grad, per="column")
    return param - s.lr * grad * rows / xp.maximum(columns, 0.25) * xp.mean(rows)


def names_that_the_targets_use(xp, s, param, grad, table, i):
    n = grad + table
    double = xp.abs(n)
    float32 = xp.where(double > 0.5, double, n)
    return param - s.lr * float32, double, i + n


def numbers_of_elements_along_rows_and_no_sum(xp, s, param, grad):
    return param - s.lr * grad / xp.size(grad, per="row") * xp.size(grad, per="column")


def the_number_of_elements_and_no_sum(xp, s, param, grad):
    return param - s.lr * grad / xp.size(grad)


def the_number_of_elements_beside_a_sum(xp, s, param, grad):
    return param - s.lr * (grad / xp.size(grad) + xp.sum(grad))


FORMS = [
    (numbers_of_elements_along_rows_and_no_sum, {}),
    (the_number_of_elements_and_no_sum, {}),
    (the_number_of_elements_beside_a_sum, {}),
    (row_state_that_is_only_kept, dict(kept="row")),
    (column_state_read_before_it_changes, dict(kept="column")),
    (tensor_state_read_in_the_first_pass, dict(kept="tensor")),
    (a_sum_that_needs_a_sum, {}),
    (a_sum_used_as_it_is, {}),
    (state_that_stays_and_state_that_is_the_gradient, {}),
    (the_old_value_after_the_new, {}),
    (rows_of_the_parameter_against_columns_of_the_gradient, {}),
    (names_that_the_targets_use, {}),
]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (130, 7), (1, 3000), (200, 600)])
@pytest.mark.parametrize(("update", "per"), FORMS, ids=[update.__name__ for update, _ in FORMS])
def test_targets_agree(update, per, shape, any_backend, libraries):
    rule = ss.Rule(update.__name__, scalars, update, defaults=dict(lr=0.1), per=per)
    rng = np.random.default_rng(0)
    start = rng.standard_normal(shape).astype(np.float32)
    reference, printed = start.copy(), start.copy()
    compiled = on(any_backend, start.copy())
    optimizers = [
        ss.Optimizer(rule, [reference], backend="numpy"),
        ss.Optimizer(rule, [compiled], backend=any_backend),
    ]
    c = COptimizer(rule, printed, libraries)
    for _ in range(4):
        grad = rng.standard_normal(shape).astype(np.float32)
        for optimizer in optimizers:
            step(optimizer, [grad])
        c.step(grad)
        ours = off(any_backend, compiled), off(any_backend, optimizers[1].state[0])
        for other, state in (ours, (printed, c.state)):
            assert first_difference(other, reference) is None
            for name, values in optimizers[0].state[0].items():
                assert first_difference(state[name], values) is None, name
    assert not np.array_equal(reference, start)


def test_a_state_may_become_what_another_one_was(any_backend):
    """The old value is kept, though it is overwritten under its own name in the same step."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad, newest, previous):
        return param - s.lr * previous, grad, newest

    rule = ss.Rule("delayed", scalars, update, defaults=dict(lr=1.0))
    param = on(any_backend, np.zeros(40_000, np.float32))
    optimizer = ss.Optimizer(rule, [param], backend=any_backend)
    for value in (1, 2, 3):
        step(optimizer, [np.full(40_000, value, np.float32)])
    state = off(any_backend, optimizer.state[0])
    assert set(off(any_backend, param)) == {-1.0}
    assert (set(state["newest"]), set(state["previous"])) == ({3}, {2})
