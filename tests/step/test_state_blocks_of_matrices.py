"""States in blocks of rules that see a matrix: blocks go over the ends of rows, and no bit depends
on it."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, on, random_like, snapshot, step
from samestep.golden.compare import first_difference
from samestep.language.blockwise import BLOCKWISE
from samestep.language.dtypes import numpy_dtype
from variants import has_bits_of_numpy

# of one row and one column; blocks that end where rows or tiles do, and that do not; several tiles
# side by side, and below each other
SHAPES = ((3, 4), (1, 1), (7, 301), (130, 1), (2, 20_000), (67, 1030), (5, 3, 9))
TWO_SIZES = {"mean": "int8", "last": "dynamic8"}
FOUR = {"mean": "int4", "last": "dynamic8"}  # of which blocks have 128 and 256 elements


def by_rows_and_columns() -> ss.Rule:
    """A rule that sums a state along rows and columns, and needs it again with both sums."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr, beta=h.beta, rest=1 - h.beta), carry

    def update(xp, s, param, grad, mean, last):
        mean = s.beta * mean + s.rest * grad
        centred = mean - xp.mean(mean, per="row") - xp.mean(mean, per="column")
        return param - s.lr * centred + last, mean, grad * s.rest

    return ss.Rule("centred_both", scalars, update, defaults=dict(lr=0.5, beta=0.9))


def summed() -> ss.Rule:
    """A rule that keeps a sum along rows and a maximum of columns, of which nothing waits for the
    new ones."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr, beta=h.beta, rest=1 - h.beta), carry

    def update(xp, s, param, grad, mean, rows, columns):
        mean = s.beta * mean + s.rest * grad
        rows_now = xp.mean(grad * grad, per="row")
        columns_now = xp.max_abs(mean, per="column")
        return param - s.lr * (mean + s.rest * (rows + columns)), mean, rows_now, columns_now

    per = dict(rows="row", columns="column")
    return ss.Rule("summed", scalars, update, defaults=dict(lr=0.5, beta=0.9), per=per)


def unchanged() -> ss.Rule:
    """A rule that reads a state along rows and never changes it."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad, kept):
        return param - s.lr * (grad - xp.sum(kept, per="row")), kept

    return ss.Rule("unchanged", scalars, update, defaults=dict(lr=0.5), initial=dict(kept=0.25))


CENTRED = by_rows_and_columns()


def run(rule, backend: str, dtype: str = "float32", steps: int = 2, shapes=SHAPES, **hyper):
    params = [
        np.random.default_rng(3).standard_normal(s).astype(numpy_dtype(dtype)) for s in shapes
    ]
    optimizer = ss.Optimizer(rule, on(backend, params), backend=backend, **hyper)
    for k in range(steps):
        step(optimizer, random_like(params, k))
    return snapshot(optimizer)


@pytest.mark.parametrize(
    ("rule", "hyper"),
    [
        ("adafactor", dict(beta1=0.9, state_dtype="int8")),
        ("normuon", dict(state_dtype="int8", shapes=SHAPES[:4])),
        (CENTRED, dict(state_dtype=TWO_SIZES)),
        (unchanged(), dict(state_dtype="uint8")),
        ("adafactor", dict(beta1=0.9, state_dtype="int4")),
        ("normuon", dict(state_dtype="int4", shapes=SHAPES[:4])),
        (CENTRED, dict(state_dtype=FOUR)),
        (CENTRED, dict(state_dtype={"last": "int4"})),
        (unchanged(), dict(state_dtype="uint4")),
        (summed(), dict(state_dtype="int8")),
        (summed(), dict(state_dtype="int4")),
        ("sm3", dict(state_dtype="int4")),
    ],
    ids=["adafactor", "normuon", "own", "own-unchanged", "adafactor-4", "normuon-4", "own-4",
         "own-one-4", "own-unchanged-4", "own-summed", "own-summed-4", "sm3-4"],
)  # fmt: skip
def test_all_backends_give_the_same_bits(any_backend, rule, hyper):
    if has_bits_of_numpy(rule, any_backend):
        assert_same(run(rule, any_backend, **hyper), run(rule, "numpy", **hyper))


def test_they_go_with_rounding_by_random_bits(any_backend):
    hyper = dict(state_dtype={"mean": "int8", "last": "bfloat16"}, rounding="stochastic", seed=5)
    shapes = SHAPES[:4]
    found, expected = (
        run(CENTRED, backend, "bfloat16", shapes=shapes, **hyper)
        for backend in (any_backend, "numpy")
    )
    assert_same(found, expected)


@pytest.mark.parametrize("codecs", [TWO_SIZES, FOUR], ids=["8", "4"])
def test_blocks_are_neighbours_in_memory(any_backend, codecs):
    """Codes and scales are those of the new state as a vector, whatever its shape."""
    exact = run(CENTRED, any_backend, steps=1)
    found = run(CENTRED, any_backend, steps=1, state_dtype=codecs)
    for i in range(len(SHAPES)):
        assert first_difference(found[f"param {i}"], exact[f"param {i}"]) is None
        for name, codec in codecs.items():
            codes, scales = BLOCKWISE[codec].store(exact[f"{name} {i}"].reshape(-1))
            assert first_difference(found[f"{name} {i}"].reshape(-1), codes) is None
            assert first_difference(found[f"{name}_scale {i}"], scales) is None


@pytest.mark.parametrize("codecs", [TWO_SIZES, FOUR], ids=["8", "4"])
def test_threads_change_no_bit(monkeypatch, codecs):
    pytest.importorskip("numba")
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("SAMESTEP_THREADS", threads)
        shapes = ((301, 1027), (64, 20_000), (5_000, 3))
        found.append(run(CENTRED, "numba", shapes=shapes, state_dtype=codecs))
    assert_same(*found)


def test_states_of_rows_and_columns_stay_in_float32(any_backend):
    found = run("adafactor", any_backend, beta1=0.9, state_dtype="int8")
    assert found["exp_avg 2"].dtype == np.int8
    assert found["exp_avg_sq_row 2"].dtype == found["exp_avg_sq_col 2"].dtype == np.float32
    with pytest.raises(ValueError, match=r"'exp_avg_sq_row'; .*may have fewer bits are exp_avg"):
        run("adafactor", any_backend, beta1=0.9, state_dtype={"exp_avg_sq_row": "int8"})
