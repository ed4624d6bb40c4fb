"""The double of CuPy: that it waits as a device does, and that its check against CuPy can fail.
``cupy_drift.py`` holds it against CuPy itself, where that is installed."""

from __future__ import annotations

import cupy_drift as drift
import numpy as np
import pytest
from conftest import UNDER_TEST, needs_double

if "cupy" in UNDER_TEST:
    import cupy
    from samestep.backends.cupy import staging


def test_the_double_is_as_it_is():
    found, count = drift.differences(drift.double("first"), drift.double("second"))
    assert found == []
    assert count > 25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: delattr(d, "from_dlpack"), "cupy.from_dlpack: CuPy has no such name"),
        (lambda d: setattr(d, "zeros", lambda shape: None), "cupy.zeros: takes .*CuPy's"),
        (lambda d: setattr(d, "empty", lambda shape, dtype=int, order="C": None), "cupy.empty"),
        (
            lambda d: setattr(d, "empty", lambda shape, dtype=float, order="C", *, more: 0),
            "cupy.empty",
        ),
        (lambda d: delattr(d.ndarray, "get"), "cupy.ndarray.get: CuPy has no such name"),
    ],
)
def test_control_a_difference_from_cupy_is_noticed(change, message):
    other = drift.double("other")
    change(other)
    found, _ = drift.differences(drift.double("ours"), other)
    assert len(found) == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found[0])


def test_a_later_cupy_may_take_more():
    other = drift.double("later")
    other.empty = lambda shape, dtype=float, order="C", more=None: None
    assert drift.differences(drift.double("ours"), other)[0] == []


@needs_double
def test_what_is_read_too_early_is_not_there_yet():
    """A copy from pinned memory is made when its turn comes, with what is in it then."""
    memory, view = staging.pinned(8)
    view[:] = 1
    target = cupy.empty(8, np.uint8)
    target.data.copy_from_host_async(memory.ptr, 8, cupy.cuda.get_current_stream())
    view[:] = 2
    assert target.get().tolist() == [2] * 8


@needs_double
def test_memory_that_is_not_pinned_or_not_alive_is_noticed():
    target = cupy.empty(8, np.uint8)
    with pytest.raises(AssertionError, match="not in pinned memory"):
        target.data.copy_from_host_async(np.zeros(8).ctypes.data, 8)
    kernel = _kernel('extern "C" __global__ void g(double *x, int n) { x[0] = n; }', "g")
    with pytest.raises(TypeError, match="takes arguments of"):
        kernel((1,), (1,), (target, 3))  # a Python number takes 8 bytes
    dead = cupy.empty(8)
    part = cupy.ndarray((8,), float, cupy.cuda.MemoryPointer(_Gone(dead.data.ptr), 0))
    del dead
    with pytest.raises(AssertionError, match="no live allocation"):
        kernel((1,), (1,), (part, np.int32(3)))


@needs_double
def test_control_threads_that_leave_others_at_a_barrier_are_noticed():
    text = 'extern "C" __global__ void h(int n) { if ((int)threadIdx.x < n) __syncthreads(); }'
    kernel = _kernel(text, "h")
    for n in (0, 64):
        kernel((1,), (64,), (np.int32(n),))
        cupy.cuda.Device().synchronize()
    kernel((1,), (64,), (np.int32(5),))
    with pytest.raises(RuntimeError, match="wait at a barrier that others never reach"):
        cupy.cuda.Device().synchronize()


class _Gone:
    device_id, size = 0, 64

    def __init__(self, ptr):
        self.ptr = ptr


def _kernel(text, name):
    from samestep.backends.cupy import compiler

    return compiler.functions(name, text, [name])[0]
