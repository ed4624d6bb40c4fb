"""The double of CuPy: that it waits as a device does, and that its check against CuPy can fail.
``cupy_drift.py`` holds it against CuPy itself, where that is installed."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import bindings_drift
import cupy_drift as drift
import numpy as np
import pytest
from conftest import UNDER_TEST, needs_double
from helpers import run_python

HERE = str(Path(drift.__file__).parent)

if "cupy" in UNDER_TEST:
    import cupy
    from cuda.bindings import driver as bindings
    from samestep.backends.cuda import compiler, driver


def test_the_double_is_as_it_is():
    found, count = drift.differences(drift.double("first"), drift.double("second"))
    assert found == []
    assert count > 25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: delattr(d, "from_dlpack"), "cupy.from_dlpack: there is no such name"),
        (lambda d: setattr(d, "zeros", lambda shape: None), "cupy.zeros: takes .*the real one"),
        (lambda d: setattr(d, "empty", lambda shape, dtype=int, order="C": None), "cupy.empty"),
        (
            lambda d: setattr(d, "empty", lambda shape, dtype=float, order="C", *, more: 0),
            "cupy.empty",
        ),
        (lambda d: delattr(d.ndarray, "get"), "cupy.ndarray.get: there is no such name"),
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
def test_the_double_of_the_bindings_is_like_them():
    """In a process of its own: this one may have the double under their name."""
    script = "import sys, bindings_drift; sys.exit(bindings_drift.main())"
    said = run_python(script, PYTHONPATH=HERE)
    assert int(re.fullmatch(r"(\d+) names are as in cuda-bindings .*\n", said)[1]) > 40


@needs_double
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: delattr(d, "cuEventQuery"), "cuEventQuery: there is no such name"),
        (lambda d: setattr(d, "cuEventRecord", lambda hEvent: ()), "cuEventRecord: takes"),
        (
            lambda d: setattr(d, "CUresult", IntEnum("CUresult", {"CUDA_SUCCESS": 0})),
            "CUDA_ERROR_NOT_READY: is not 600",
        ),
    ],
)
def test_control_a_difference_from_the_bindings_is_noticed(change, message):
    other = bindings_drift.double("driver", "other")
    change(other)
    found, _ = drift.differences(bindings_drift.double("driver"), other)
    assert any(message in line for line in found)


@needs_double
def test_what_is_read_too_early_is_not_there_yet():
    """A copy from pinned memory is made when its turn comes, with what is in it then."""
    memory = driver.Pinned(8)
    memory.bytes[:] = 1
    target = cupy.empty(8, np.uint8)
    driver.copy_to_device(target.data.ptr, memory, 8, 0)
    memory.bytes[:] = 2
    assert target.get().tolist() == [2] * 8


@needs_double
def test_memory_that_is_not_pinned_is_noticed():
    target = cupy.empty(8, np.uint8)
    with pytest.raises(AssertionError, match="not in pinned memory"):
        bindings.cuMemcpyHtoDAsync(target.data.ptr, np.zeros(8).ctypes.data, 8, 0)


@needs_double
def test_arguments_are_taken_when_a_kernel_is_launched():
    text = 'extern "C" __global__ void g(double *x, long long n) { x[0] = n; }'
    target = cupy.empty(1)
    arguments = driver.Arguments(target.data.ptr, 3)
    driver.launch(_kernel(text, "g"), (1, 1), 1, arguments, 0)
    arguments.values[1] = 4
    assert target.get().tolist() == [3.0]


@needs_double
def test_control_threads_that_leave_others_at_a_barrier_are_noticed():
    text = (
        'extern "C" __global__ void h(long long n) { if ((int)threadIdx.x < n) __syncthreads(); }'
    )
    kernel = _kernel(text, "h")
    for n in (0, 64):
        driver.launch(kernel, (1, 1), 64, driver.Arguments(n), 0)
        cupy.cuda.Device().synchronize()
    driver.launch(kernel, (1, 1), 64, driver.Arguments(5), 0)
    with pytest.raises(RuntimeError, match="wait at a barrier that others never reach"):
        cupy.cuda.Device().synchronize()


def _kernel(text, name):
    driver.enter(0)
    return compiler.functions(name, text, [name], 0)[0]
