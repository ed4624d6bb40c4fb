"""A processor that was switched, to flush subnormal numbers to zero or to round otherwise than to
nearest, is noticed before a step."""

from __future__ import annotations

import ctypes
import platform
import sys
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
from samestep.backends.launching import pool as pools
from samestep.backends.launching.arithmetic import FLUSHES, ROUNDS, fault

LINUX = sys.platform.startswith("linux")
# of C's fenv.h: FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO; nearest is 0 on both
ROUNDING = {
    "x86_64": {"down": 0x400, "up": 0x800, "zero": 0xC00},
    "aarch64": {"down": 0x800000, "up": 0x400000, "zero": 0xC00000},
}.get(platform.machine() if LINUX else "", {})


def set_rounding(mode):
    assert ctypes.CDLL(None).fesetround(ROUNDING[mode] if mode else 0) == 0


SWITCHES = [
    pytest.param(set_flush_to_zero, True, FLUSHES, id="flush", marks=needs_flush_to_zero),
    *(pytest.param(set_rounding, mode, ROUNDS, id=mode) for mode in ROUNDING),
]
every_switch = pytest.mark.parametrize(("switch", "on", "message"), SWITCHES)


@pytest.fixture(autouse=True)
def _switched_back():
    yield
    if LINUX and ROUNDING:
        set_rounding("")
        set_flush_to_zero(False)


@every_switch
def test_a_step_refuses_to_run_while_this_thread_is_switched(switch, on, message, backend):
    optimizer = ss.Adam([np.ones(3), np.ones(100_000)], backend=backend)
    grads = [np.ones(3), np.ones(100_000)]
    optimizer.step(grads)
    untroubled = ss.Adam([np.ones(3), np.ones(100_000)], backend=backend)
    untroubled.step(grads)
    for gradients in (grads, [g.copy() for g in grads]):
        before = snapshot(optimizer)
        switch(on)
        try:
            with pytest.raises(RuntimeError, match=f"this thread {message}"):
                optimizer.step(gradients)
        finally:
            switch(False)
        assert_same(snapshot(optimizer), before)
    for each in (optimizer, untroubled):
        each.step(grads)
    assert_same(snapshot(optimizer), snapshot(untroubled))


@every_switch
def test_control_the_switches_of_these_tests_work(switch, on, message):
    def results():
        return [float(x) for x in (np.array([5e-324, 1 / 3, -1 / 3]) * 1.1)]

    usual = results()
    assert not fault()
    switch(on)
    switched, found = results(), fault()
    switch(False)
    assert found == message
    assert switched != usual
    assert results() == usual
    assert not fault()


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
@every_switch
def test_a_worker_that_is_switched_is_noticed(switch, on, message, monkeypatch):
    """Somebody may have switched it by running code of theirs there."""
    monkeypatch.setenv("SAMESTEP_THREADS", "2")
    monkeypatch.setattr(pools, "_pool", pools.Pool(2))
    optimizer = ss.Adam([np.ones(200_000)], backend="numba")
    grads = [np.ones(200_000)]
    optimizer.step(grads)
    caller = threading.get_ident()

    def on_both(function):
        barrier = threading.Barrier(2, timeout=60)

        def job(first, last):
            barrier.wait()
            function()

        pools.get_pool().run(job, (), [0, 1, 2])

    on_both(lambda: threading.get_ident() == caller or switch(on))
    on_both(lambda: None)  # the worker has come back for more
    with refused(optimizer, RuntimeError, f"a worker thread {message}"):
        optimizer.step(grads)
