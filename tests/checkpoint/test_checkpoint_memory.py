"""Saving and loading take no second copy of the model."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import samestep as ss

MIB = 1 << 20
SMALL = 2 * MIB  # a piece of the file, the header, and what Python needs


@pytest.fixture
def optimizer():
    """One whose parameters take 16 MiB, and the state twice as much."""
    params = {"a": np.ones(3 * MIB, np.float32), "b": np.ones((1024, 1024), np.float32)}
    optimizer = ss.Adam(params, backend="numpy")
    optimizer.step({name: np.ones_like(param) for name, param in params.items()})
    return optimizer


def peak_and_rest(function):
    """The most memory that was allocated meanwhile and what is left of it, in bytes."""
    tracemalloc.start()
    kept = function()
    rest, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return peak, rest


def test_saving_and_loading_take_little_memory(optimizer, tmp_path):
    path = tmp_path / "run.safetensors"
    peak, _ = peak_and_rest(lambda: optimizer.save(path))
    assert path.stat().st_size > 48 * MIB
    assert peak < SMALL
    params = {name: np.empty_like(a) for name, a in optimizer.param_groups[0]["params"].items()}
    peak, rest = peak_and_rest(lambda: ss.Optimizer.load(path, params, backend="numpy"))
    assert rest > 32 * MIB  # the state
    assert peak - rest < SMALL


def test_control_a_copy_of_the_state_is_seen(optimizer):
    peak, rest = peak_and_rest(optimizer.state_dict)
    assert peak > 32 * MIB
    assert rest > 32 * MIB
