"""A processor that was switched to flush subnormal numbers to zero is noticed before a step."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import samestep as ss
from helpers import (
    assert_same,
    needs_flush_to_zero,
    needs_numba,
    refused,
    set_flush_to_zero,
    snapshot,
)
from samestep.backends.host.backend import flushes_subnormals
from samestep.backends.launching import pool as pools


@pytest.fixture
def flush_to_zero():
    yield set_flush_to_zero
    set_flush_to_zero(False)


@needs_flush_to_zero
def test_a_step_refuses_to_run_while_this_thread_flushes_subnormals(backend, flush_to_zero):
    optimizer = ss.Adam([np.ones(3), np.ones(100_000)], backend=backend)
    grads = [np.ones(3), np.ones(100_000)]
    optimizer.step(grads)
    untroubled = ss.Adam([np.ones(3), np.ones(100_000)], backend=backend)
    untroubled.step(grads)
    for gradients in (grads, [g.copy() for g in grads]):
        before = snapshot(optimizer)
        flush_to_zero(True)
        try:
            with pytest.raises(RuntimeError, match="this thread flushes subnormal numbers to zero"):
                optimizer.step(gradients)
        finally:
            flush_to_zero(False)
        assert_same(snapshot(optimizer), before)
    for each in (optimizer, untroubled):
        each.step(grads)
    assert_same(snapshot(optimizer), snapshot(untroubled))


@needs_flush_to_zero
def test_the_switch_of_these_tests_works(flush_to_zero):
    assert not flushes_subnormals()
    assert np.array([5e-324]) * 1.0 > 0
    flush_to_zero(True)
    assert flushes_subnormals()
    assert np.array([5e-324]) * 1.0 == 0
    flush_to_zero(False)
    assert not flushes_subnormals()


def test_torch_s_switch_is_noticed():
    """``torch.set_flush_denormal`` changes NumPy's results, too."""
    torch = pytest.importorskip("torch")
    optimizer = ss.SGD([np.ones(3)], backend="numpy")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    try:
        with pytest.raises(RuntimeError, match=r"torch.set_flush_denormal\(True\)"):
            optimizer.step([np.ones(3)])
    finally:
        torch.set_flush_denormal(False)
    assert optimizer.steps == [0]


@needs_numba
@needs_flush_to_zero
def test_a_worker_that_flushes_subnormals_is_noticed(monkeypatch):
    """Somebody may have switched it by running code of theirs there."""
    monkeypatch.setenv("SAMESTEP_THREADS", "2")
    monkeypatch.setattr(pools, "_pool", pools.Pool(2, flushes_subnormals))
    optimizer = ss.Adam([np.ones(200_000)], backend="numba")
    grads = [np.ones(200_000)]
    optimizer.step(grads)
    caller = threading.get_ident()

    def on_both(function):
        barrier = threading.Barrier(2, timeout=60)

        def job(first, last):
            barrier.wait()
            function()

        pools.get_pool(flushes_subnormals).run(job, (), [0, 1, 2])

    on_both(lambda: threading.get_ident() == caller or set_flush_to_zero(True))
    on_both(lambda: None)  # the worker has come back for more
    with refused(optimizer, RuntimeError, "a worker thread flushes subnormal numbers to zero"):
        optimizer.step(grads)
