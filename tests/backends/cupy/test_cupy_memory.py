"""Memory of a CUDA device: what is under way is kept, running out changes nothing, and a step
allocates nothing that a replay would miss."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from conftest import UNDER_TEST, needs_double
from cupy_steps import Counts, grads, pair, start
from helpers import assert_same, on, refused, snapshot
from samestep.golden.compare import assert_same_bits

pytestmark = pytest.mark.skipif("cupy" not in UNDER_TEST, reason="cupy is not under test")
if "cupy" in UNDER_TEST:
    import cupy
    from cuda.bindings import driver
    from samestep.backends.cuda import launch as cuda_launch


def test_more_elements_than_a_kernel_adds_up_are_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(cuda_launch, "CHUNK", 2)
    optimizer = ss.LAMB(on("cupy", [np.ones(9, np.float32)]))
    message = r"params\[0\] has 9 elements; kernels add up to 8"
    with refused(optimizer, ValueError, message):
        optimizer.step(on("cupy", [np.ones(9, np.float32)]))


def test_memory_of_copies_under_way_is_kept():
    """An optimizer that is gone has its last copies made yet: nobody else gets their memory."""
    for seed in range(6):
        params = on("cupy", start())
        ss.AdamW(params, clip_global_norm=1.0).step(on("cupy", grads(seed)))
    reference = start()
    ss.AdamW(reference, clip_global_norm=1.0, backend="numpy").step(grads(5))
    for array, expected in zip(params, reference, strict=True):
        assert_same_bits(array.get(), expected)


@needs_double
def test_out_of_memory_changes_nothing():
    pool = cupy.get_default_memory_pool()
    params = on("cupy", start())
    reference, optimizer = pair("adamw", clip_global_norm=1.0)
    there = on("cupy", grads(0))
    cupy.cuda.Device().synchronize()
    error = cupy.cuda.memory.OutOfMemoryError
    try:
        pool.set_limit(size=pool.used_bytes() + 100)
        with pytest.raises(error, match="Out of memory allocating"):
            ss.Adam(params)
        for array, expected in zip(params, start(), strict=True):
            assert_same_bits(array.get(), expected)
        with refused(optimizer, error, "Out of memory"):
            optimizer.step(there)
    finally:
        pool.set_limit(size=0)
    optimizer.step(there)
    reference.step(grads(0))
    assert_same(snapshot(optimizer), snapshot(reference))


@needs_double
def test_nothing_is_allocated_after_the_first_steps(monkeypatch):
    """Where gradients come in the same arrays; the first two steps see them for the first time."""
    optimizer = ss.LAMB(on("cupy", start()), clip_global_norm=1.0)
    there = on("cupy", grads(0))
    for _ in range(2):
        optimizer.step(there)
    allocations = Counts(monkeypatch, cupy, "empty")
    pinned = Counts(monkeypatch, driver, "cuMemHostAlloc")
    for _ in range(3):
        optimizer.step(there)
    assert (allocations.count, pinned.count) == (0, 0)
