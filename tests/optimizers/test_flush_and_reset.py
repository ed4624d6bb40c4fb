"""The last micro-batches of a window that is not full, and an optimizer that begins anew."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, on, random_like, refused, snapshot, step

DTYPES = (np.float32, np.float64, np.float16)


def start(backend):
    return on(backend, [np.full((2, 3), 2.0, dtype) for dtype in DTYPES])


def grads(seed):
    return random_like([np.zeros((2, 3), dtype) for dtype in DTYPES], seed)


def made(backend, **options):
    return ss.AdamW(start(backend), lr=lambda n: 0.1 / (n + 1), backend=backend, **options)


@pytest.mark.parametrize("options", [{}, {"clip_global_norm": 0.5}, {"skip_nonfinite": True}])
def test_a_flush_updates_with_the_mean_of_what_came(options, any_backend):
    optimizer = made(any_backend, accumulation_steps=4, **options)
    expected = made(any_backend, accumulation_steps=2, **options)
    for seed in range(4):
        step(optimizer, grads(seed))
    for seed in range(4, 6):
        step(optimizer, grads(seed))
    assert (optimizer.steps_taken, optimizer.micro_steps) == (1, 2)
    optimizer.flush()
    assert (optimizer.steps_taken, optimizer.micro_steps) == (2, 0)
    expected.accumulation_steps = 4
    for seed in range(4):
        step(expected, grads(seed))
    expected.accumulation_steps = 2
    for seed in range(4, 6):
        step(expected, grads(seed))
    assert_same(snapshot(optimizer), snapshot(expected))
    before = snapshot(optimizer)
    optimizer.flush()  # nothing has come since
    assert_same(snapshot(optimizer), before)
    assert optimizer.steps_taken == 2
    for each in (optimizer, expected):  # the next window begins anew
        each.accumulation_steps = 1
        step(each, grads(6))
    assert_same(snapshot(optimizer), snapshot(expected))


def test_a_flush_that_raises_loses_nothing(any_backend):
    optimizer = made(any_backend, accumulation_steps=3)
    step(optimizer, grads(0))
    optimizer.param_groups[0]["lr"] = 1e60
    with refused(optimizer, ValueError, "infinite in float32"):
        optimizer.flush()
    optimizer.param_groups[0]["lr"] = 0.1
    assert optimizer.micro_steps == 1
    optimizer.flush()
    expected = ss.AdamW(start(any_backend), lr=0.1, backend=any_backend)
    step(expected, grads(0))
    assert_same(snapshot(optimizer), snapshot(expected))


def test_a_frozen_group_is_not_flushed(any_backend):
    optimizer = made(any_backend, accumulation_steps=3)
    step(optimizer, grads(0))
    optimizer.param_groups[0]["frozen"] = True
    before = snapshot(optimizer)
    optimizer.flush()
    assert_same(snapshot(optimizer), before)


@pytest.mark.parametrize("rule", ["adamw", "adagrad", "nadam", "rprop", "adafactor"])
def test_a_reset_begins_anew_in_the_same_memory(rule, any_backend):
    """Adagrad's and Rprop's state begins at a hyperparameter, NAdam carries a number."""
    hyper = {"adagrad": {"initial_accumulator_value": 0.5}}.get(rule, {})
    options = dict(backend=any_backend, accumulation_steps=2, **hyper)
    optimizer = ss.Optimizer(rule, start(any_backend), **options)
    arrays = [array for state in optimizer.state for array in state.values()]
    for seed in range(5):
        step(optimizer, [None, *grads(seed)[1:]] if seed == 2 else grads(seed))
    moved = optimizer.backend.to_numpy
    params = [moved(p) for p in optimizer.param_groups[0]["params"]]
    optimizer.reset()
    now = [array for state in optimizer.state for array in state.values()]
    assert all(a is b for a, b in zip(arrays, now, strict=True))
    assert (optimizer.steps_taken, optimizer.micro_steps, optimizer.steps) == (0, 0, [0, 0, 0])
    fresh = ss.Optimizer(rule, on(any_backend, params), **options)
    assert_same(snapshot(optimizer), snapshot(fresh))
    for seed in range(5, 9):
        step(optimizer, grads(seed))
        step(fresh, grads(seed))
    assert_same(snapshot(optimizer), snapshot(fresh))


def test_complex_state_is_reset(backend):
    optimizer = ss.Adagrad([np.ones(2, complex)], initial_accumulator_value=0.5, backend=backend)
    before = snapshot(optimizer)
    optimizer.step([np.ones(2, complex)])
    optimizer.reset()
    fresh = {name: array for name, array in snapshot(optimizer).items() if name[:5] != "param"}
    assert_same(fresh, {name: before[name] for name in fresh})
