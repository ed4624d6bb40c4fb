"""Random signs of rows and columns: the same on every backend and in printed C, and those of the
paper of their generator."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer
from helpers import off, on, refused
from samestep.golden.compare import assert_same_bits
from samestep.golden.formulas.projections import philox, random_sign
from samestep.language.random_signs import random_signs
from samestep.step.indexed_slices import IndexedSlices


def scalars(xp, step, carry, h):
    return dict(seed=h.own_seed, renewal=step - 1), carry


def update(xp, s, param, grad, rows, columns):
    """One of the two is needed by elements, too."""
    of_rows = xp.random_signs(grad, s.seed, s.renewal, per="row")
    of_columns = xp.random_signs(grad, s.seed, s.renewal, per="column")
    return param + of_columns * grad, of_rows, of_columns


SIGNS = ss.Rule(
    "signs", scalars, update, dict(own_seed=2.0**24), per=dict(rows="row", columns="column")
)
SHAPES = [(3, 5), (130, 1_025), (1, 40), (40, 1), (5, 3, 2)]


def expected(count, renewal):
    return np.array([random_sign(i, 2**24, renewal) for i in range(count)])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_signs_are_those_of_the_generator(dtype, any_backend, tmp_path):
    grads = [np.ones(shape, dtype) for shape in SHAPES]
    params = on(any_backend, [np.zeros_like(grad) for grad in grads])
    optimizer = ss.Optimizer(SIGNS, params, backend=any_backend)
    printed = [COptimizer(SIGNS, np.zeros_like(grad), tmp_path) for grad in grads]
    for _ in range(2):
        optimizer.step(on(any_backend, grads))
        for each, grad in zip(printed, grads, strict=True):
            each.step(grad)
    compute = np.float64 if dtype == "float64" else np.float32
    found = zip(grads, off(any_backend, list(optimizer.state)), printed, strict=True)
    for param, (grad, state, of_c) in zip(off(any_backend, params), found, strict=True):
        before, after = (expected(grad[0].size, renewal) for renewal in (0, 1))
        moved = np.broadcast_to(before + after, (len(grad), grad[0].size))
        assert_same_bits(param.reshape(moved.shape), moved.astype(dtype), f"{grad.shape}")
        for states in (state, of_c.state):
            rows, columns = expected(len(grad), 1), after.reshape(grad.shape[1:])
            assert_same_bits(states["rows"], rows.astype(compute), f"{grad.shape}")
            assert_same_bits(states["columns"], columns.astype(compute), f"{grad.shape}")


def test_the_formula_has_the_vectors_of_the_generators_authors():
    """Of `kat_vectors` in their Random123, for philox4x32 with 10 rounds."""
    zeros = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert philox((0, 0, 0, 0), (0, 0)) == zeros
    assert philox((2**32 - 1,) * 4, (2**32 - 1,) * 2) == ones


def test_signs_are_balanced_and_of_no_other_seed_or_renewal():
    """Sums of 100,000 signs, and of products of two sets, are within five standard deviations of
    0."""
    sets = [random_signs(0, 100_000, *key) for key in ((0, 0), (0, 1), (1, 0), (1, 1))]
    gram = np.array(sets) @ np.array(sets).T
    assert np.abs(gram - 100_000 * np.eye(4)).max() < 5 * 100_000**0.5
    assert max(abs(signs.sum()) for signs in sets) < 5 * 100_000**0.5


def test_signs_of_some_rows_are_refused():
    """They would be those of other rows, which are counted from 0."""
    rule = ss.Rule(
        "own",
        scalars,
        lambda xp, s, param, grad: (
            param - grad * xp.random_signs(grad, s.seed, s.renewal, per="row")
        ),
        dict(own_seed=0.0),
    )
    optimizer = ss.Optimizer(rule, [np.ones((4, 2))], backend="numpy")
    with refused(optimizer, TypeError, "is sparse, of some rows; own .* needs a dense one"):
        optimizer.step([IndexedSlices(np.ones((2, 2)), np.array([0, 2]))])


def test_control_a_sign_by_another_bit_is_noticed():
    signs = random_signs(0, 64, 2**24, 0)
    assert (signs == expected(64, 0)).all()
    assert (signs != expected(64, 1)).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            lambda xp, s, grad: xp.random_signs(grad, s.seed, s.seed, per="tensor"),
            'per must be "row" or "column"',
        ),
        (
            lambda xp, s, grad: xp.random_signs(xp.mean(grad), s.seed, s.seed, per="row"),
            "no random sign per row of a value that exists per tensor",
        ),
        (
            lambda xp, s, grad: xp.random_signs(grad, s.seed, 1 + s.seed, per="row"),
            "random_signs takes scalars as numbers",
        ),
    ],
)
def test_what_has_no_random_signs_is_refused(text, message):
    rule = ss.Rule(
        "refused",
        lambda xp, step, carry, h: (dict(seed=step), carry),
        lambda xp, s, param, grad: param + text(xp, s, grad),
        {},
    )
    with pytest.raises(TypeError, match=message):
        ss.Optimizer(rule, np.ones((2, 2)))
