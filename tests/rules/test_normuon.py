"""NorMuon against the authors' algorithm, written afresh, and what it promises of rows and
norms."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import off, on
from samestep.golden.compare import assert_same_bits

SHAPES = [(30, 12), (12, 30), (16, 16), (4, 3, 5), (1, 7), (7, 1), (1, 1)]
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def normal(seed, shapes=SHAPES, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def our_steps(backend, options, shapes=SHAPES, dtype=np.float64, steps=5):
    params = on(backend, normal(1, shapes, dtype))
    optimizer = ss.NorMuon(params, backend=backend, **options)
    for k in range(steps):
        optimizer.step(on(backend, normal(10 + k, shapes, dtype)))
    return off(backend, params)


def orthogonal(x):
    a, b, c = COEFFICIENTS
    x = x / max(np.linalg.norm(x), 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def authors_steps(param, grads, as_in_paper, lr=0.02, decay=0.1, beta1=0.95, beta2=0.9):
    """The code's steps, or Algorithm 1 of the paper."""
    shape, w = param.shape, param.reshape(len(param), -1)
    m, v = np.zeros_like(w), np.zeros((len(w), 1))
    for grad in grads:
        g = grad.reshape(w.shape)
        m = beta1 * m + (1 - beta1) * g
        o = orthogonal(m if as_in_paper else (1 - beta1) * g + beta1 * m)
        v = beta2 * v + (1 - beta2) * (o * o).mean(axis=1, keepdims=True)
        update = o / (np.sqrt(v) + 1e-10)
        if as_in_paper:
            update *= 0.2 * np.sqrt(w.size) / np.linalg.norm(update)
        else:
            update *= np.linalg.norm(o) / (np.linalg.norm(update) + 1e-10)
            update *= max(1, w.shape[0] / w.shape[1]) ** 0.5
        w = (1 - lr * decay) * w - lr * update
    return w.reshape(shape)


@pytest.mark.parametrize("as_in_paper", [False, True])
def test_it_is_the_authors_in_float64(any_backend, as_in_paper):
    options = dict(weight_decay=0.1, beta2=0.9)
    options |= dict(nesterov=False, match_rms_adamw=True) if as_in_paper else {}
    grads = zip(*(normal(10 + k) for k in range(5)), strict=True)
    found = our_steps(any_backend, options)
    for mine, start, each in zip(found, normal(1), grads, strict=True):
        expected = authors_steps(start, each, as_in_paper)
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-12)


def first_step(kind, backend, **options):
    """The first step of each parameter, as matrices."""
    params = on(backend, [np.zeros(shape) for shape in SHAPES])
    kind(params, backend=backend, lr=1.0, weight_decay=0.0, **options).step(on(backend, normal(2)))
    return [-step.reshape(len(step), -1) for step in off(backend, params)]


def test_rows_take_equal_steps_and_the_norm_is_muon_s(any_backend):
    """Without a past: each row is divided by its own root mean square."""
    mine, muon = first_step(ss.NorMuon, any_backend), first_step(ss.Muon, any_backend)
    for step, other in zip(mine, muon, strict=True):
        rows = np.linalg.norm(step, axis=1)
        np.testing.assert_allclose(rows, rows[0], rtol=1e-8)
        np.testing.assert_allclose(np.linalg.norm(step), np.linalg.norm(other), rtol=1e-8)


def test_control_muon_s_rows_do_not(any_backend):
    rows = np.linalg.norm(first_step(ss.Muon, any_backend)[0], axis=1)
    assert rows.max() > 1.2 * rows.min()


def test_match_rms_adamw_is_a_root_mean_square_of_a_fifth(any_backend):
    for step in first_step(ss.NorMuon, any_backend, match_rms_adamw=True):
        np.testing.assert_allclose(np.sqrt(np.mean(step**2)), 0.2, rtol=1e-8)


def test_a_row_without_gradients_stays(any_backend):
    """And so does a whole parameter; neither becomes NaN."""
    (grad,) = normal(2, [(4, 6)], np.float32)
    grad[1] = 0
    params = on(any_backend, [np.ones((4, 6), np.float32) for _ in range(2)])
    optimizer = ss.NorMuon(params, backend=any_backend)
    for _ in range(2):
        optimizer.step(on(any_backend, [grad, np.zeros_like(grad)]))
    some, none = off(any_backend, params)
    assert (some[1] == 1).all()
    assert (some[[0, 2, 3]] != 1).all()
    assert (none == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_backends_in_host_memory_have_the_same_bits(dtype, other_backend):
    options = dict(weight_decay=0.1)
    expected = our_steps("numpy", options, dtype=dtype)
    for found, param in zip(our_steps(other_backend, options, dtype=dtype), expected, strict=True):
        assert_same_bits(found, param)


def test_its_second_moment_is_one_number_a_row(backend):
    optimizer = ss.NorMuon([np.ones((4, 3, 5), np.float16)], backend=backend)
    optimizer.step([np.ones((4, 3, 5), np.float16)])
    state = optimizer.state[0]
    assert state["second_momentum_buffer"].shape == (4,)
    assert state["momentum_buffer"].shape == (4, 3, 5)
    assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}
