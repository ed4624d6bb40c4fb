"""Stochastic rounding in a step: the same bits everywhere, and the right mean."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, on, snapshot, step
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype

SHAPES = ((9, 31), (), (5,), (70_001,), (0, 3), (40, 1030))


def values(dtype: str, number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(number)
    found = [np.array(rng.standard_normal(shape) * 10.0 ** rng.integers(-9, 3)) for shape in SHAPES]
    return [array.astype(numpy_dtype(dtype)) for array in found]


def made(backend: str, rule="adamw", dtype="bfloat16", **hyper) -> ss.Optimizer:
    params = values(dtype, 0)
    params[0].flat[:4] = [np.inf, -np.inf, np.nan, -0.0]
    hyper = {"rounding": "stochastic", "seed": 2**32 - 5, **hyper}
    return ss.Optimizer(
        ss.rules.registry[rule], on(backend, params), backend=backend, lr=0.01, **hyper
    )


def go(optimizer: ss.Optimizer, steps, dtype="bfloat16") -> ss.Optimizer:
    for number in steps:
        grads = values(dtype, number)
        step(optimizer, [None if number % 2 and k == 2 else g for k, g in enumerate(grads)])
    return optimizer


CASES = [
    ("adamw", "bfloat16", {}),
    ("adamw", "float16", {"state_dtype": "bfloat16"}),
    ("adamw", "float32", {"state_dtype": {"exp_avg_sq": "float16"}}),
    ("lamb", "bfloat16", {"clip_norm": 0.5}),
    ("adafactor", "float16", {"beta1": 0.9, "state_dtype": "bfloat16"}),
]


@pytest.mark.parametrize(("rule", "dtype", "hyper"), CASES, ids=lambda v: str(v))
def test_the_bits_of_the_reference(any_other_backend, rule, dtype, hyper):
    found, expected = (
        snapshot(go(made(backend, rule, dtype, **hyper), range(1, 4), dtype))
        for backend in (any_other_backend, "numpy")
    )
    assert_same(found, expected)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_do_not_matter(threads, any_backend, monkeypatch):
    monkeypatch.setenv("SAMESTEP_THREADS", threads)
    params = on(any_backend, [np.ones(300_000, numpy_dtype("bfloat16"))])
    optimizer = ss.SGD(params, lr=1e-3, backend=any_backend, rounding="stochastic", seed=1)
    step(optimizer, [np.ones(300_000, numpy_dtype("bfloat16"))])
    expected = [np.ones(300_000, numpy_dtype("bfloat16"))]
    ss.SGD(expected, lr=1e-3, backend="numpy", rounding="stochastic", seed=1).step(
        [np.ones(300_000, numpy_dtype("bfloat16"))]
    )
    found = snapshot(optimizer)["param 0"]
    assert first_difference(found, expected[0]) is None


def test_a_run_that_is_resumed_goes_on(any_backend, tmp_path):
    whole = go(made(any_backend, state_dtype="bfloat16"), range(1, 5))
    half = go(made(any_backend, state_dtype="bfloat16"), range(1, 3))
    half.save(tmp_path / "half.safetensors")
    resumed = ss.Optimizer.load(
        tmp_path / "half.safetensors", on(any_backend, values("bfloat16", 9)), backend=any_backend
    )
    assert resumed.param_groups[0]["rounding"] == "stochastic"
    other = made(any_backend, state_dtype="bfloat16", seed=3)
    for array, now in zip(_params(other), _params(half), strict=True):
        other._run.backend.copy_into(array, half._run.backend.to_numpy(now))
    other.load_state_dict(half.state_dict())  # with the seed
    for optimizer in (resumed, other, copy.deepcopy(half), pickle.loads(pickle.dumps(half))):
        assert_same(snapshot(go(optimizer, range(3, 5))), snapshot(whole))


def _params(optimizer: ss.Optimizer) -> list:
    return optimizer.param_groups[0]["params"]


def test_a_skipped_step_takes_no_random_bits(any_backend):
    optimizer, other = (made(any_backend, skip_nonfinite=skip) for skip in (True, False))
    go(optimizer, [1])
    step(optimizer, [np.full_like(g, np.nan) for g in values("bfloat16", 2)])
    go(optimizer, [3])
    assert optimizer.skipped_steps == 1
    assert_same(snapshot(optimizer), snapshot(go(other, [1, 3])))


def test_the_seed_the_step_the_position_and_the_array_give_other_bits():
    def ones(count, **hyper):
        params = [np.ones(4096, numpy_dtype("bfloat16")) for _ in range(count)]
        hyper = {"rounding": "stochastic", "lr": 2.0**-9, "state_dtype": "bfloat16", **hyper}
        optimizer = ss.AdamW(params, betas=(0.5, 0.6), backend="numpy", **hyper)
        return optimizer, params

    grads = [np.full(4096, 1 + 2**-7, numpy_dtype("bfloat16"))] * 2
    optimizer, params = ones(2)
    optimizer.step(grads)
    first = [np.array(p) for p in params]
    optimizer.step(grads)
    differences = [params[0] - first[0], first[0] - 1]
    other, of_other = ones(1, seed=1)
    other.step(grads[:1])
    state = optimizer.state[0]["exp_avg_sq"]
    ups = [
        first[0] == 1, first[1] == 1, differences[0] == 0, of_other[0] == 1, state > np.median(state)
    ]  # fmt: skip
    for k, up in enumerate(ups):
        assert 0.05 < up.mean() < 0.95 or k == 4
        for another in ups[:k]:
            if 0 < up.mean() < 1:
                assert abs(np.corrcoef(up, another)[0, 1]) < 0.08


def test_groups_added_later_leave_the_bits_of_others(any_backend):
    params = on(any_backend, values("bfloat16", 0))
    hyper = dict(lr=0.01, backend=any_backend, rounding="stochastic")
    whole = ss.AdamW([{"params": params[:3]}, {"params": params[3:]}], **hyper)
    step_of_groups(whole, 1)
    again = on(any_backend, values("bfloat16", 0))
    grown = ss.AdamW([{"params": again[:3]}], **hyper)
    grown.add_param_group({"params": again[3:]})
    step_of_groups(grown, 1)
    assert_same(snapshot(grown), snapshot(whole))


def step_of_groups(optimizer: ss.Optimizer, number: int) -> None:
    grads = on(optimizer._run.backend.name, values("bfloat16", number))
    optimizer.step([grads[:3], grads[3:]])


def test_a_group_rounds_as_it_says(any_backend):
    ones = [np.ones(1000, numpy_dtype("bfloat16")) for _ in range(2)]
    params = on(any_backend, ones)
    groups = [{"params": params[:1], "rounding": "stochastic"}, {"params": params[1:]}]
    optimizer = ss.SGD(groups, lr=1e-3, backend=any_backend)
    grads = on(any_backend, [np.ones_like(one) for one in ones])
    optimizer.step([grads[:1], grads[1:]])
    found = snapshot(optimizer)
    assert 0 < (found["param 0"] != 1).mean() < 1
    assert (found["param 1"] == 1).all()


def test_rounding_is_structural(backend):
    optimizer = made(backend)
    optimizer.param_groups[0]["rounding"] = "nearest"
    with pytest.raises(ValueError, match=r"rounding was .stochastic. .* structural"):
        go(optimizer, [1])


def test_rows_of_a_sparse_gradient_are_rounded_as_a_tensor_of_them(any_backend):
    """On every backend alike, in place or in a copy."""

    def stepped(backend):
        params = on(backend, [np.ones((100, 7), numpy_dtype("bfloat16"))])
        optimizer = ss.SGD(params, lr=1e-3, backend=backend, rounding="stochastic", seed=5)
        rows = np.array([3, 50, 51, 90])
        grad = np.ones((4, 7), numpy_dtype("bfloat16"))
        rows, grad = on(backend, [rows, grad])
        optimizer.step([ss.IndexedSlices(grad, rows)])
        return snapshot(optimizer)

    found = stepped(any_backend)
    assert_same(found, stepped("numpy"))
    assert (found["param 0"] != 1).any()


def test_a_mean_that_nearest_would_not_move(any_backend):
    """Weights of 1.0 move by 6e-4 a step on average, as float32 does; nearest leaves them."""
    size, steps = 20_000, 10
    for rounding, moves in (("stochastic", True), ("nearest", False)):
        params = on(any_backend, [np.ones(size, numpy_dtype("bfloat16"))])
        hyper = dict(lr=6e-4, weight_decay=0.0, warn_lost_updates=False, rounding=rounding)
        optimizer = ss.AdamW(params, backend=any_backend, **hyper)
        for _ in range(steps):
            step(optimizer, [np.full(size, 0.5, numpy_dtype("bfloat16"))])
        mean = snapshot(optimizer)["param 0"].astype(np.float64).mean()
        if moves:
            error = 2**-8 * np.sqrt(steps / size)
            assert abs(mean - (1 - 6e-4 * steps)) < 4 * error
        else:
            assert mean == 1
