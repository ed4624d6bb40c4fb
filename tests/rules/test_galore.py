"""GaLore's states of the longer and the shorter side: their shapes, when the basis is renewed, what
it is where the gradient has a low rank, and errors, which change nothing. Its steps are those of
``golden/formulas/low_rank.py`` and of the reference in ``references.py``."""

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

SHAPES = [(6, 11), (3, 4, 5), (5, 1), (9, 4), (0, 4)]
OPTIONS = dict(lr=0.1, weight_decay=0.1, rank=2, update_proj_gap=3)
our_steps = functools.partial(stepped, ss.GaLore, OPTIONS, steps=5)


def basis_of(optimizer, backend):
    (basis,) = off(backend, [optimizer.state[0]["basis"]])
    return basis.copy()


def test_a_large_matrix_is_not_cut_into_blocks(any_backend, monkeypatch):
    (expected,) = our_steps(any_backend, [(7, 9)])
    monkeypatch.setattr(blocks, "BLOCK", 4)
    (found,) = our_steps(any_backend, [(7, 9)])
    assert_same_bits(found, expected)


def test_states_are_of_the_longer_and_of_the_shorter_side(any_backend):
    optimizer = ss.GaLore(on(any_backend, normal(1, SHAPES)), backend=any_backend, rank=4)
    for name, expected in {
        "exp_avg": [(11, 4), (20, 3), (5, 1), (9, 4), (4, 0)],
        "exp_avg_sq": [(11, 4), (20, 3), (5, 1), (9, 4), (4, 0)],
        "basis": [(6, 4), (3, 3), (1, 1), (4, 4), (0, 0)],
    }.items():
        assert [tuple(state[name].shape) for state in optimizer.state] == expected


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_a_step_is_adam_in_the_subspace(shape, any_backend):
    """Of singular vectors of NumPy's, whose signs no step depends on while the basis stays."""
    (param,), eps = normal(1, [shape]), 1e-3
    params = on(any_backend, [param.copy()])
    optimizer = ss.GaLore(params, backend=any_backend, lr=0.1, rank=3, scale=0.5, eps=eps)
    low, squares = 0.0, 0.0
    for k in range(1, 5):
        (grad,) = normal(10 + k, [shape])
        left, _, right = np.linalg.svd(grad)
        if k == 1:
            basis = (right.T if shape[0] >= shape[1] else left)[:, :3]
        projected = (grad if shape[0] >= shape[1] else grad.T) @ basis
        low, squares = 0.9 * low + 0.1 * projected, 0.999 * squares + 0.001 * projected**2
        direction = low / (np.sqrt(squares) + eps) @ basis.T
        rate = 0.1 * 0.5 * np.sqrt(1 - 0.999**k) / (1 - 0.9**k)
        param -= rate * (direction if shape[0] >= shape[1] else direction.T)
        optimizer.step(on(any_backend, [grad]))
    np.testing.assert_allclose(off(any_backend, params)[0], param, rtol=1e-11, atol=1e-11)


def test_a_transposed_parameter_takes_the_transposed_steps(any_backend):
    (tall,) = our_steps(any_backend, [(9, 4)])
    params = on(any_backend, [np.ascontiguousarray(normal(1, [(9, 4)])[0].T)])
    optimizer = ss.GaLore(params, backend=any_backend, **OPTIONS)
    for k in range(5):
        (grad,) = normal(10 + k, [(9, 4)])
        optimizer.step(on(any_backend, [np.ascontiguousarray(grad.T)]))
    np.testing.assert_allclose(off(any_backend, params)[0].T, tall, rtol=1e-10, atol=1e-10)


def test_the_basis_is_renewed_every_so_many_steps(any_backend):
    shape = (6, 11)
    optimizer = ss.GaLore(on(any_backend, normal(1, [shape])), backend=any_backend, **OPTIONS)
    bases = []
    for k in range(7):
        optimizer.step(on(any_backend, normal(10 + k, [shape])))
        bases.append(basis_of(optimizer, any_backend))
    renewed = [k for k in range(1, 7) if not np.array_equal(bases[k], bases[k - 1])]
    assert renewed == [3, 6]
    for k in (0, 3, 6):
        left, _, _ = np.linalg.svd(normal(10 + k, [shape])[0])
        np.testing.assert_allclose(bases[k] @ bases[k].T, left[:, :2] @ left[:, :2].T, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_of_a_lower_rank_has_a_whole_basis(dtype, any_backend):
    """Where there is no gradient it is of the identity; the first vectors are those that the
    gradient has."""
    (whole,) = normal(2, [(6, 11)], dtype)
    zero, one = np.zeros_like(whole), np.outer(whole[:, 0], whole[0]).astype(dtype)
    options = dict(OPTIONS, rank=4, update_proj_gap=1)
    optimizer = ss.GaLore(
        on(any_backend, normal(1, [(6, 11)], dtype)), backend=any_backend, **options
    )
    tolerance = 50 * np.finfo(dtype).eps
    for grad in (zero, one, whole, one):
        optimizer.step(on(any_backend, [grad]))
        basis = basis_of(optimizer, any_backend)
        np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=tolerance)
        if grad is zero:
            np.testing.assert_array_equal(basis, np.eye(6, 4))
        if grad is one:
            first = whole[:, 0] / np.linalg.norm(whole[:, 0])
            np.testing.assert_allclose(abs(basis[:, 0] @ first), 1, atol=tolerance)


def test_an_identity_column_of_which_nothing_is_left_is_passed_over(any_backend):
    """The gradient's only singular vector is the second column of the identity, which is the first
    that is tried."""
    grad = np.zeros((3, 5))
    grad[1] = 1.0
    params = on(any_backend, [np.ones((3, 5))])
    optimizer = ss.GaLore(params, backend=any_backend, rank=3)
    optimizer.step(on(any_backend, [grad]))
    expected = np.eye(3)[:, [1, 2, 0]]
    np.testing.assert_allclose(basis_of(optimizer, any_backend), expected, atol=1e-15)


class Other:
    """A library whose singular vectors have other signs, and of singular values of 0 are other
    ones."""

    isfinite = np.isfinite

    class linalg:
        @staticmethod
        def svd(matrix, full_matrices):
            left, values, right = np.linalg.svd(matrix, full_matrices=full_matrices)
            return turned(left, values), values, turned(right.T, values).T


def turned(vectors, values):
    null = values < 1e-12 * values.max()
    turned = -vectors
    turned[:, null] = turned[:, null][:, ::-1]
    return turned


def test_no_step_depends_on_what_a_library_is_free_to_choose(backend, monkeypatch):
    def steps():
        params = normal(1, [(6, 11), (9, 4)])
        optimizer = ss.GaLore(params, backend=backend, **dict(OPTIONS, rank=4))
        for k in range(5):
            grads = normal(10 + k, [(6, 11), (9, 4)])
            optimizer.step([np.outer(g[:, 0], g[0]) + np.outer(g[:, 1], g[1]) for g in grads])
        return params

    expected = steps()
    monkeypatch.setattr(HostBackend, "library", Other)
    for found, param in zip(steps(), expected, strict=True):
        np.testing.assert_allclose(found, param, rtol=1e-12, atol=1e-12)


def test_a_run_goes_on_from_its_state(backend):
    whole, half = (ss.GaLore(normal(1), backend=backend, **OPTIONS) for _ in range(2))
    for k in range(5):
        whole.step(normal(10 + k))
    for k in range(2):
        half.step(normal(10 + k))
    params = [p.copy() for p in half.param_groups[0]["params"]]
    other = ss.GaLore(params, backend=backend, **OPTIONS)
    other.load_state_dict(half.state_dict())
    for k in range(2, 5):
        other.step(normal(10 + k))
    assert_same(snapshot(other), snapshot(whole))


def test_a_decomposition_that_fails_changes_nothing(backend, monkeypatch):
    optimizer = ss.GaLore(normal(1), backend=backend, **dict(OPTIONS, update_proj_gap=1))
    optimizer.step(normal(10))
    before = snapshot(optimizer)

    class Failing:
        isfinite = np.isfinite

        class linalg:
            @staticmethod
            def svd(matrix, full_matrices):
                raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(HostBackend, "library", Failing)
    with pytest.raises(np.linalg.LinAlgError):
        optimizer.step(normal(11))
    assert_same(snapshot(optimizer), before)


def test_a_step_that_is_left_out_leaves_the_states(any_backend):
    params = on(any_backend, normal(1))
    optimizer = ss.GaLore(params, backend=any_backend, skip_nonfinite=True, **OPTIONS)
    optimizer.step(on(any_backend, normal(10)))
    before = snapshot(optimizer)
    optimizer.step(on(any_backend, [np.full_like(grad, np.nan) for grad in normal(11)]))
    assert_same(snapshot(optimizer), before)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_gradient_that_is_not_finite_spoils_its_parameter_alone(step, value, any_backend):
    """Where the basis is renewed, and where it is not."""
    params = on(any_backend, normal(1))
    optimizer = ss.GaLore(params, backend=any_backend, **OPTIONS)
    for k in range(step + 1):
        grads = normal(10 + k)
        if k == step:
            grads[0][0, 0] = value
        optimizer.step(on(any_backend, grads))
    first, *others = off(any_backend, params)
    expected = np.ones((6, 11), bool) if step == 0 else np.arange(11) == 0
    np.testing.assert_array_equal(np.isnan(first), np.broadcast_to(expected, (6, 11)))
    assert all(np.isfinite(other).all() for other in others)


def test_a_square_that_overflows_steps_no_more(any_backend):
    grad = np.zeros((3, 2), np.float32)
    grad[0, 0], grad[1, 1] = 1e20, 1.0
    params = on(any_backend, [np.ones((3, 2), np.float32)])
    optimizer = ss.GaLore(params, backend=any_backend, rank=2, lr=0.1)
    for _ in range(2):
        optimizer.step(on(any_backend, [grad]))
        (found,) = off(any_backend, params)
        assert (found[0, 0], found[2].tolist()) == (1, [1, 1])
    assert np.isfinite(found).all()


def test_another_rank_is_refused_later(backend):
    optimizer = ss.GaLore(normal(1), backend=backend, **OPTIONS)
    optimizer.step(normal(10))
    before = snapshot(optimizer)
    optimizer.param_groups[0]["rank"] = 3
    with pytest.raises(
        ValueError, match="rank was 2 when the optimizer was made and is structural"
    ):
        optimizer.step(normal(11))
    optimizer.param_groups[0]["rank"] = 2
    assert_same(snapshot(optimizer), before)


@pytest.mark.parametrize("name", ["rank", "update_proj_gap"])
@pytest.mark.parametrize("value", [0, -1, 1.5, np.inf])
def test_a_rank_and_a_number_of_steps_are_whole_numbers_from_one_on(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        ss.GaLore(np.ones((2, 2)), **{name: value})


def test_a_vector_is_refused(backend):
    with pytest.raises(ValueError, match="galore is for matrices, parameters of two axes or more"):
        ss.GaLore(np.ones(3), backend=backend)


# ---- states of the longer and of the shorter side in a rule's text


def rule(update):
    return ss.Rule(
        "own",
        lambda xp, step, carry, h: (dict(one=1.0), carry),
        update,
        defaults=dict(lr=0.1),
        per=dict(low="longer_rank", basis="shorter_rank"),
        rank=2,
    )


def test_the_stages_neither_read_nor_write_these_states():
    found = stages(ss.rules.registry["galore"])
    assert (found.arrays, found.made) == (("argument_1",), ())
    assert found.becomes == {
        "basis": "singular_basis_1",
        "exp_avg": "running_mean_3",
        "exp_avg_sq": "running_mean_of_squares_4",
    }
    assert [each.state for each in found.rules] == [("argument_1",), ("argument_1",)]


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (
            lambda xp, s, param, grad, low, basis: (param, low + low, basis),
            "a thin state is only for",
        ),
        (
            lambda xp, s, param, grad, low, basis: (param, xp.projected(grad, low), basis),
            "projected is for a value per shorter_rank, not per longer_rank",
        ),
        (
            lambda xp, s, param, grad, low, basis: (
                xp.projected_back(grad, basis, basis),
                low,
                basis,
            ),
            "projected_back is for a value per longer_rank, not per shorter_rank",
        ),
        (
            lambda xp, s, param, grad, low, basis: (
                param,
                xp.running_mean(low, basis, s.one, s.one),
                basis,
            ),
            "running_mean is for a value per longer_rank, not per shorter_rank",
        ),
        (
            lambda xp, s, param, grad, low, basis: (param, low, xp.projected(grad, basis)),
            "basis is kept per shorter_rank, but update returns a value per longer_rank",
        ),
        (
            lambda xp, s, param, grad, low, basis: (
                param,
                low,
                xp.orthonormal_product(grad, basis),
            ),
            "orthonormal_product is for a value per column_rank, not per shorter_rank",
        ),
    ],
)
def test_what_these_states_are_not_for_is_refused(update, message):
    with pytest.raises(TypeError, match=message):
        ss.Optimizer(rule(update), np.ones((2, 2)))
