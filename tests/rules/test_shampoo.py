"""Shampoo's square states: blocks, refreshes, and errors, which change nothing. Its steps are those
of ``golden/formulas/square_states.py`` and of the reference in ``references.py``."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, snapshot
from matrices import normal, stepped
from samestep.backends.host.backend import HostBackend
from samestep.language import blocks
from samestep.language.stages import stages

OPTIONS = dict(lr=0.1, betas=(0.9, 0.99), eps=1e-3)
our_steps = functools.partial(stepped, ss.Shampoo, OPTIONS, steps=4)


def test_a_large_side_is_cut_into_blocks_of_equal_size(any_backend, monkeypatch):
    """A matrix of 7 x 9 in blocks of at most 4 is six of 4 x 3, with a row of zeros below; each
    steps as a parameter of its own would. The norm of a grafted step is that of all."""
    monkeypatch.setattr(blocks, "BLOCK", 4)
    (found,) = our_steps(any_backend, [(7, 9)])
    (start,) = normal(1, [(7, 9)])
    for rows in (slice(0, 4), slice(4, 7)):
        for columns in (slice(0, 3), slice(3, 6), slice(6, 9)):
            part = on(any_backend, [start[rows, columns].copy()])
            optimizer = ss.Shampoo(part, backend=any_backend, **OPTIONS)
            for k in range(4):
                (grad,) = normal(10 + k, [(7, 9)])
                optimizer.step(on(any_backend, [grad[rows, columns].copy()]))
            np.testing.assert_allclose(found[rows, columns], off(any_backend, part)[0], rtol=1e-9)


def test_squares_of_a_blocked_parameter_are_stacks():
    param = np.zeros((1_025, 2))
    state = ss.Shampoo(param, backend="numpy").state[0]
    assert {name: array.shape for name, array in state.items()} == {
        "exp_avg": (1_025, 2),
        "row_gram": (2, 513, 513),
        "column_gram": (2, 2, 2),
        "row_root": (2, 513, 513),
        "column_root": (2, 2, 2),
    }


def test_roots_are_refreshed_when_they_are_due(backend):
    optimizer = ss.Shampoo(
        normal(1), backend=backend, **OPTIONS, start_preconditioning_step=2,
        precondition_frequency=3,
    )  # fmt: skip
    changed, before = [], optimizer.state[0]["row_root"].copy()
    for step in range(1, 10):
        optimizer.step(normal(10 + step))
        now = optimizer.state[0]["row_root"].copy()
        changed += [step] * bool((now != before).any())
        before = now
    assert changed == [2, 5, 8]


def test_a_run_goes_on_from_its_state(backend):
    options = dict(OPTIONS, precondition_frequency=2)
    whole, half = (ss.Shampoo(normal(1), backend=backend, **options) for _ in range(2))
    for k in range(4):
        whole.step(normal(10 + k))
    half.step(normal(10))
    params = [p.copy() for p in half.param_groups[0]["params"]]
    other = ss.Shampoo(params, backend=backend, **options)
    other.load_state_dict(half.state_dict())
    for k in range(1, 4):
        other.step(normal(10 + k))
    assert_same(snapshot(other), snapshot(whole))


def test_a_decomposition_that_fails_changes_nothing(backend, monkeypatch):
    optimizer = ss.Shampoo(normal(1), backend=backend, **OPTIONS)
    optimizer.step(normal(10))
    before = snapshot(optimizer)

    class Failing:
        isfinite, where = np.isfinite, np.where

        class linalg:
            @staticmethod
            def eigh(matrix):
                raise np.linalg.LinAlgError("Eigenvalues did not converge")

    monkeypatch.setattr(HostBackend, "library", Failing)
    with pytest.raises(np.linalg.LinAlgError):
        optimizer.step(normal(11))
    assert_same(snapshot(optimizer), before)


def test_a_step_that_is_left_out_leaves_the_squares(any_backend):
    params = on(any_backend, normal(1))
    optimizer = ss.Shampoo(params, backend=any_backend, skip_nonfinite=True, **OPTIONS)
    optimizer.step(on(any_backend, normal(10)))
    before = snapshot(optimizer)
    optimizer.step(on(any_backend, [np.full_like(grad, np.nan) for grad in normal(11)]))
    assert_same(snapshot(optimizer), before)


def test_a_gradient_that_is_not_finite_spoils_its_parameter_alone(any_backend):
    params = on(any_backend, normal(1))
    optimizer = ss.Shampoo(params, backend=any_backend, **OPTIONS)
    grads = normal(10)
    grads[0][0, 0] = np.inf
    optimizer.step(on(any_backend, grads))
    first, *others = off(any_backend, params)
    assert np.isnan(first).all()
    assert all(np.isfinite(other).all() for other in others)


def test_a_vector_is_refused(backend):
    with pytest.raises(ValueError, match="shampoo is for matrices, parameters of two axes or more"):
        ss.Shampoo(np.ones(3), backend=backend)


# ---- square states in a rule's text


def scalars(xp, step, carry, h):
    return dict(lr=h.lr, one=1), carry


def rule(update, **more):
    per = dict(square="row_pair")
    return ss.Rule("own", scalars, update, defaults=dict(lr=0.1), **{"per": per, **more})


def test_the_stages_neither_read_nor_write_squares():
    found = stages(ss.rules.registry["shampoo"])
    assert found.arrays == ("argument_1", "multiplied_5")
    assert [call.after for call in found.calls] == [0, 0, 0, 0, 1]
    assert [each.state for each in found.rules] == [
        ("exp_avg", "argument_1"),
        ("exp_avg", "argument_1", "multiplied_5"),
        ("exp_avg", "argument_1", "multiplied_5"),
    ]


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda xp, s, param, grad, square: (param - square, square), "a square state is only for"),
        (lambda xp, s, param, grad, square: (param - grad, square), "calls no function of whole"),
        (
            lambda xp, s, param, grad, square: (
                param, xp.column_gram(grad, square, s.one, s.one),
            ),
            "column_gram is for a value per column_pair, not per row_pair",
        ),
        (
            lambda xp, s, param, grad, square: (param, xp.row_gram(grad, square, 1, s.one)),
            "row_gram takes scalars as numbers",
        ),
        (
            lambda xp, s, param, grad, square: (
                xp.row_gram(grad, square, s.one, s.one), square,
            ),
            "param is kept per element, but update returns a value per row_pair",
        ),
    ],
)  # fmt: skip
def test_what_a_square_is_not_for_is_refused(update, message):
    with pytest.raises(TypeError, match=message):
        ss.Optimizer(rule(update), np.ones((2, 2)))


def test_a_square_starts_at_zero():
    def update(xp, s, param, grad, square):
        return param, xp.row_gram(grad, square, s.one, s.one)

    with pytest.raises(ValueError, match="the square state square starts at 0"):
        rule(update, initial=dict(square=1.0))


def test_a_square_may_keep_what_another_one_was():
    def update(xp, s, param, grad, gram, before):
        return param, xp.row_gram(grad, gram, s.one, s.one), gram

    own = ss.Rule(
        "keeping",
        lambda xp, step, carry, h: (dict(one=1.0), carry),
        update,
        defaults=dict(lr=0.1),
        per=dict(gram="row_pair", before="row_pair"),
    )
    optimizer = ss.Optimizer(own, np.zeros((1, 1)))
    for step in range(3):
        optimizer.step(np.ones((1, 1)))
        assert optimizer.state[0]["before"].item() == step


def test_a_root_of_nothing_added_is_refused():
    with pytest.raises(ValueError, match="eps must be"):
        ss.Shampoo(np.ones((4, 3)), eps=0.0)
