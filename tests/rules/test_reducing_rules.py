"""LARS, NovoGrad and Adafactor: what their state is, the tensors they treat in another way, the
arguments they refuse."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, random_like, refused, snapshot
from samestep.golden.compare import assert_same_bits, first_difference

REDUCING = ["lamb", "lars", "novograd", "adafactor"]


def normal(shape, seed=0, dtype=np.float32):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


# ---- Adafactor's state


def test_state_is_a_number_per_row_and_per_column(backend):
    params = [normal(shape) for shape in [(30, 20), (8, 3, 5, 5), (17,), ()]]
    optimizer = ss.Adafactor(params, backend=backend)
    shapes = [{name: a.shape for name, a in state.items()} for state in optimizer.state]
    assert shapes == [
        {"exp_avg_sq_row": (30,), "exp_avg_sq_col": (20,)},
        {"exp_avg_sq_row": (8,), "exp_avg_sq_col": (3, 5, 5)},
        {"exp_avg_sq": (17,)},
        {"exp_avg_sq": ()},
    ]
    optimizer = ss.Adafactor(params, backend=backend, beta1=0.9, factored=False)
    for param, state in zip(params, optimizer.state, strict=True):
        assert {name: a.shape for name, a in state.items()} == {
            "exp_avg": param.shape,
            "exp_avg_sq": param.shape,
        }


def peak_memory(call):
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_no_temporary_of_the_parameter_s_size_is_made(backend):
    """At most a sum per column and strip of 64 rows, sums per row, and blocks."""
    ss.Adafactor(np.ones((2, 2), np.float32), backend=backend).step(np.ones((2, 2), np.float32))
    param, grad = normal((8192, 1024)), normal((8192, 1024), 1)
    optimizer = ss.Adafactor(param, backend=backend)
    assert peak_memory(lambda: optimizer.step(grad)) < param.nbytes / 8
    assert peak_memory(lambda: optimizer.step(grad)) < param.nbytes / 8
    assert peak_memory(lambda: grad * grad) >= param.nbytes


def test_more_axes_are_the_first_against_all_others(backend):
    """So a kernel is updated as the matrix it is reshaped to; a stack of matrices is passed as the
    single ones, where the last two axes are meant."""
    start, grads = normal((6, 4, 3, 2)), [normal((6, 4, 3, 2), seed) for seed in (1, 2, 3)]
    kernel, matrix = start.copy(), start.copy().reshape(6, 24)
    stack, parts = start[0].copy(), list(start[0].copy())
    optimizers = [
        ss.Adafactor(kernel, backend=backend),
        ss.Adafactor(matrix, backend=backend),
        ss.Adafactor(list(stack), backend=backend),
    ]
    alone = [ss.Adafactor(part, backend=backend) for part in parts]
    for grad in grads:
        optimizers[0].step(grad)
        optimizers[1].step(grad.reshape(6, 24))
        optimizers[2].step(list(grad[0]))
        for optimizer, part in zip(alone, grad[0], strict=True):
            optimizer.step(part)
    assert_same_bits(kernel.reshape(6, 24), matrix)
    assert_same_bits(stack, np.array(parts))
    assert not np.array_equal(kernel[0], stack)


def test_rows_and_columns_without_gradient_stay_where_they_are(backend):
    for dtype in (np.float32, np.float64, np.float16):
        start, grad = normal((9, 7), 0, dtype), normal((9, 7), 1, dtype)
        grad[2], grad[:, 5] = 0, 0
        param = start.copy()
        optimizer = ss.Adafactor(param, backend=backend)
        for _ in range(3):
            optimizer.step(grad)
        assert np.isfinite(param).all()
        still = np.zeros(start.shape, bool)
        still[2], still[:, 5] = True, True
        assert_same_bits(param[still], start[still])
        assert (param != start)[~still].all()
        everything = [normal((3, 4), 0, dtype), normal(5, 0, dtype)]
        expected = [a.copy() for a in everything]
        ss.Adafactor(everything, backend=backend).step([np.zeros_like(a) for a in everything])
        for mine, before in zip(everything, expected, strict=True):
            assert_same_bits(mine, before)


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_relative_step_may_change_on_the_way(beta1, backend):
    """With it off the learning rate is taken as it is, so a schedule serves."""
    params = [normal((40, 30)), normal(40)]
    ours, relative = [a.copy() for a in params], [a.copy() for a in params]
    schedule = [1 / (t + 1) ** 0.5 for t in range(6)]
    one = ss.Adafactor(relative, lr=1.0, beta1=beta1, backend=backend)
    other = ss.Adafactor(
        ours, lr=lambda step: schedule[step], relative_step=False, beta1=beta1, backend=backend
    )
    for step in range(6):
        if step == 3:
            other.param_groups[0].update(lr=1.0, relative_step=True)
        grads = random_like(params, step)
        one.step(grads)
        other.step(grads)
    assert_same(snapshot(one), snapshot(other))
    assert first_difference(ours[0], params[0]) is not None


# ---- the ratios of LARS and NovoGrad


def test_lars_takes_the_ratio_as_one_where_a_norm_is_zero(backend):
    params = [np.zeros(3), np.full(3, 2.0), np.full(4, 2.0)]
    grads = [np.full(3, 0.5), np.zeros(3), np.full(4, 0.5)]
    ss.LARS(params, lr=0.5, weight_decay=0.25, eps=0.0, backend=backend).step(grads)
    assert params[0].tolist() == [-0.25] * 3
    assert params[1].tolist() == [1.75] * 3
    np.testing.assert_allclose(params[2], 2 - 0.5 * 1e-3 * 4 / (1 + 0.25 * 4) * 1.0, rtol=1e-15)


def test_novograd_starts_with_the_first_norm_and_does_not_see_the_gradient_s_size(backend):
    grads = [normal(20, seed, np.float64) for seed in (1, 2)]
    results = []
    for size in (1.0, 1024.0):
        param = normal(20, 0, np.float64)
        optimizer = ss.NovoGrad(param, eps=0.0, betas=(0.9, 0.5), backend=backend)
        optimizer.step(size * grads[0])
        first = float(optimizer.state[0]["exp_avg_sq"])
        optimizer.step(size * grads[1])
        second = float(optimizer.state[0]["exp_avg_sq"])
        results.append(param)
        norms = [size**2 * float(grad @ grad) for grad in grads]
        np.testing.assert_allclose([first, second], [norms[0], sum(norms) / 2], rtol=1e-14)
    assert_same_bits(results[1], results[0])


# ---- tensors of other kinds


@pytest.mark.parametrize("rule", REDUCING)
def test_empty_arrays_step_and_nothing_comes_of_it(rule, backend):
    shapes = [(5, 0), (0, 5), (0,), (0, 0), (3, 0, 2)]
    params = [np.zeros(shape, np.float32) for shape in shapes]
    params.append(normal((4, 3)))
    optimizer = ss.Optimizer(rule, params, backend=backend)
    for step in range(2):
        optimizer.step([np.zeros_like(a) for a in params[:-1]] + [normal((4, 3), step)])
    for state in optimizer.state[:-1]:
        for name, array in state.items():
            assert not array.any(), name
    assert optimizer.steps == [2] * 6


@pytest.mark.parametrize("rule", ["lars", "novograd"])
def test_complex_elements_are_two_reals(rule, backend):
    start, grads = normal((7, 10)), [normal((7, 10), seed) for seed in (1, 2, 3)]
    reals, pairs = start.copy(), start.view(np.complex64).copy()
    optimizers = [ss.Optimizer(rule, a, backend=backend) for a in (reals, pairs)]
    for grad in grads:
        optimizers[0].step(grad)
        optimizers[1].step(grad.view(np.complex64))
    assert_same_bits(pairs.view(np.float32), reals)
    if rule == "novograd":
        norms = [optimizer.state[0]["exp_avg_sq"] for optimizer in optimizers]
        assert_same_bits(norms[1], norms[0])
        other = ss.Optimizer(rule, pairs, backend=backend)
        other.load_state_dict(optimizers[1].state_dict())
        assert_same(snapshot(other), snapshot(optimizers[1]))


def test_complex_matrices_have_no_rows(backend):
    with pytest.raises(TypeError, match="params is complex; adafactor needs real parameters"):
        ss.Adafactor(np.ones((3, 2), complex), backend=backend)
    for param, options in ((np.ones(3, complex), {}), (np.ones((3, 2), complex), {"factored": 0})):
        ss.Adafactor(param, backend=backend, **options).step(param * 0.5)
        assert np.isfinite(param).all()


# ---- what is refused, what is not


@pytest.mark.parametrize(
    ("rule", "options", "error", "message"),
    [
        ("adafactor", dict(eps=(0, 1e-3)), ValueError, r"eps\[0\] must be in \(0, inf\), not 0"),
        ("adafactor", dict(eps=(None, 1e-3)), TypeError, r"eps\[0\] must be a number, not None"),
        ("adafactor", dict(beta2_decay=0.8), ValueError, r"beta2_decay must be in \(-inf, 0\]"),
        ("adafactor", dict(d=0), ValueError, r"d must be in \(0, inf\), not 0"),
        ("adafactor", dict(beta1=1), ValueError, r"beta1 must be in \[0, 1\), not 1"),
        ("adafactor", dict(relative_step=0.5), TypeError, "relative_step must be True or False"),
        ("adafactor", dict(scale_parameter=2), TypeError, "scale_parameter must be True or False"),
        ("lars", dict(trust_coefficient=-1), ValueError, r"trust_coefficient must be in \[0, inf"),
        ("lars", dict(momentum=0, nesterov=True), ValueError, "nesterov needs momentum > 0"),
        ("novograd", dict(betas=(0.9, 1.0)), ValueError, r"betas\[1\] must be in \[0, 1\), not 1"),
    ],
)
def test_hyperparameters_are_checked(rule, options, error, message):
    with pytest.raises(error, match=message):
        ss.Optimizer(rule, np.ones((3, 2)), **options)


def test_structure_is_fixed_but_a_first_moment_may_fade(backend):
    params = [normal((4, 3)), normal(3)]
    optimizer = ss.Adafactor(params, backend=backend)
    group = optimizer.param_groups[0]
    for option in (dict(beta1=0.9), dict(factored=False), dict(scale_parameter=False)):
        before = {name: group[name] for name in option}
        group.update(option)
        with refused(optimizer, ValueError, f"{next(iter(option))} was .* structural"):
            optimizer.step(random_like(params, 0))
        group.update(before)
    optimizer = ss.Adafactor(params, beta1=0.9, backend=backend)
    optimizer.step(random_like(params, 0))
    optimizer.param_groups[0]["beta1"] = 0.0
    optimizer.step(random_like(params, 1))
    assert all("exp_avg" in state for state in optimizer.state)
