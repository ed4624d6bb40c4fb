"""Dion's thin states: their shapes, what they are where the momentum has a low rank, and errors,
which change nothing. Its steps are those of ``golden/formulas/low_rank.py`` and of the reference in
``references.py``."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, snapshot
from matrices import normal, stepped
from samestep.backends.host.backend import HostBackend
from samestep.golden.compare import assert_same_bits
from samestep.language import blocks
from samestep.language.stages import stages

OPTIONS = dict(lr=0.1, mu=0.9, rank=2)
our_steps = functools.partial(stepped, ss.Dion, OPTIONS, steps=4)


def test_a_large_matrix_is_not_cut_into_blocks(any_backend, monkeypatch):
    (expected,) = our_steps(any_backend, [(7, 9)])
    monkeypatch.setattr(blocks, "BLOCK", 4)
    (found,) = our_steps(any_backend, [(7, 9)])
    assert_same_bits(found, expected)


def test_a_basis_has_no_more_columns_than_the_matrix_rows_or_columns(any_backend):
    optimizer = ss.Dion(on(any_backend, normal(1)), backend=any_backend, rank=4)
    shapes = [tuple(state["basis"].shape) for state in optimizer.state]
    assert shapes == [(11, 4), (20, 3), (1, 1), (11, 4), (4, 0)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_momentum_of_a_lower_rank_is_stepped_by_what_it_has(dtype, any_backend):
    """Of rank 1 it has one singular vector on each side, whatever the rank that is asked for; where
    there is no gradient nothing changes but the first basis. Then the whole basis serves again."""
    (param,), (whole,) = normal(1, [(6, 11)], dtype), normal(2, [(6, 11)], dtype)
    zero, one = np.zeros_like(param), np.outer(whole[:, 0], whole[0]).astype(dtype)
    params = on(any_backend, [param.copy()])
    options = dict(lr=1.0, mu=0.0, rank=3, weight_decay=0.0, eps=0.0)
    optimizer = ss.Dion(params, backend=any_backend, **options)
    scale, tolerance, before = (6 / 11) ** 0.5, 50 * np.finfo(dtype).eps, param
    for grad, rank in ((zero, 0), (one, 1), (whole, 3)):
        optimizer.step(on(any_backend, [grad]))
        (after,) = off(any_backend, params)
        step, before = before - after, after.copy()
        singular = np.linalg.svd(step / scale, compute_uv=False)
        np.testing.assert_allclose(singular, 6 * [0] if rank == 0 else singular)
        assert (singular > 1e-3).sum() == rank
        if rank == 1:
            expected = scale * one / np.linalg.norm(one)
            np.testing.assert_allclose(step, expected, atol=tolerance)
        (basis,) = off(any_backend, [optimizer.state[0]["basis"]])
        assert np.linalg.matrix_rank(basis) == 3


def test_the_start_is_of_its_seed(any_backend):
    one, same, other = (our_steps(any_backend, basis_seed=seed)[0] for seed in (1, 1, 2))
    assert_same_bits(one, same)
    assert np.abs(one - other).max() > 1e-3


def test_a_run_goes_on_from_its_state(backend):
    whole, half = (ss.Dion(normal(1), backend=backend, **OPTIONS) for _ in range(2))
    for k in range(3):
        whole.step(normal(10 + k))
    half.step(normal(10))
    params = [p.copy() for p in half.param_groups[0]["params"]]
    other = ss.Dion(params, backend=backend, **OPTIONS)
    other.load_state_dict(half.state_dict())
    for k in range(1, 3):
        other.step(normal(10 + k))
    assert_same(snapshot(other), snapshot(whole))


def test_a_decomposition_that_fails_changes_nothing(backend, monkeypatch):
    optimizer = ss.Dion(normal(1), backend=backend, **OPTIONS)
    optimizer.step(normal(10))
    before = snapshot(optimizer)

    class Failing:
        isfinite, where = np.isfinite, np.where

        class linalg:
            @staticmethod
            def qr(matrix):
                raise np.linalg.LinAlgError("out of memory")

    monkeypatch.setattr(HostBackend, "library", Failing)
    with pytest.raises(np.linalg.LinAlgError):
        optimizer.step(normal(11))
    assert_same(snapshot(optimizer), before)


def test_a_step_that_is_left_out_leaves_the_states(any_backend):
    params = on(any_backend, normal(1))
    optimizer = ss.Dion(params, backend=any_backend, skip_nonfinite=True, **OPTIONS)
    optimizer.step(on(any_backend, normal(10)))
    before = snapshot(optimizer)
    optimizer.step(on(any_backend, [np.full_like(grad, np.nan) for grad in normal(11)]))
    assert_same(snapshot(optimizer), before)


def test_a_gradient_that_is_not_finite_spoils_its_parameter_alone(any_backend):
    params = on(any_backend, normal(1))
    optimizer = ss.Dion(params, backend=any_backend, **OPTIONS)
    grads = normal(10)
    grads[0][0, 0] = np.inf
    optimizer.step(on(any_backend, grads))
    first, *others = off(any_backend, params)
    assert np.isnan(first).all()
    assert all(np.isfinite(other).all() for other in others)


def test_another_rank_is_refused_later(backend):
    optimizer = ss.Dion(normal(1), backend=backend, **OPTIONS)
    optimizer.step(normal(10))
    before = snapshot(optimizer)
    optimizer.param_groups[0]["rank"] = 3
    with pytest.raises(
        ValueError, match="rank was 2 when the optimizer was made and is structural"
    ):
        optimizer.step(normal(11))
    optimizer.param_groups[0]["rank"] = 2
    assert_same(snapshot(optimizer), before)


@pytest.mark.parametrize("rank", [0, -1, 1.5, np.inf])
def test_a_rank_is_a_whole_number_from_one_on(rank):
    with pytest.raises(ValueError, match="rank must be"):
        ss.Dion(np.ones((2, 2)), rank=rank)


# ---- thin states in a rule's text


def rule(update, rank=2, **more):
    return ss.Rule(
        "own",
        lambda xp, step, carry, h: (dict(one=1.0), carry),
        update,
        defaults=dict(lr=0.1),
        per=dict(thin="column_rank"),
        rank=rank,
        **more,
    )


def taken(xp, s, param, grad, thin):
    return param, xp.transposed_product(grad, xp.orthonormal_product(grad, thin))


def test_the_stages_neither_read_nor_write_thin_states():
    found = stages(ss.rules.registry["dion"])
    assert (found.arrays, found.made) == (("argument_2",), ("outer_product_5", "outer_product_6"))
    assert found.becomes == {"basis": "unit_columns_4"}
    assert [each.state for each in found.rules] == [
        ("momentum", "argument_2"),
        ("momentum", "argument_2", "outer_product_5", "outer_product_6"),
    ]


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda xp, s, param, grad, thin: (param - thin, thin), "a thin state is only for"),
        (lambda xp, s, param, grad, thin: (param - grad, thin), "calls no function of whole"),
        (
            lambda xp, s, param, grad, thin: (param, xp.transposed_product(grad, thin)),
            "transposed_product is for a value per row_rank, not per column_rank",
        ),
        (
            lambda xp, s, param, grad, thin: (param, xp.orthonormal_product(grad, thin)),
            "thin is kept per column_rank, but update returns a value per row_rank",
        ),
    ],
)
def test_what_a_thin_state_is_not_for_is_refused(update, message):
    with pytest.raises(TypeError, match=message):
        ss.Optimizer(rule(update), np.ones((2, 2)))


def test_a_thin_state_starts_at_zero():
    with pytest.raises(ValueError, match="the thin state thin starts at 0"):
        rule(taken, initial=dict(thin=1.0))


@pytest.mark.parametrize("rank", [0, -1, 1.5])
def test_a_thin_state_has_a_rank(rank):
    with pytest.raises(ValueError, match="expected a whole number from 1 on"):
        rule(taken, rank=rank)
