"""Arrays on a CUDA device: whose they may be, and which are refused."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from conftest import UNDER_TEST
from helpers import on, random_like, refused, snapshot
from samestep.golden.compare import assert_same_bits

pytestmark = pytest.mark.skipif("cupy" not in UNDER_TEST, reason="cupy is not under test")
if "cupy" in UNDER_TEST:
    import cupy
two_devices = pytest.mark.skipif(
    "cupy" not in UNDER_TEST or cupy.cuda.runtime.getDeviceCount() < 2, reason="takes two devices"
)

START = np.arange(1, 6, dtype=np.float32)


class ByInterface:
    """A device array that has nothing but the CUDA array interface, as Numba's have."""

    def __init__(self, array, **changes):
        self.array, self.changes = array, changes

    @property
    def __cuda_array_interface__(self):
        return {**self.array.__cuda_array_interface__, **self.changes}


class ByDLPack:
    """A device array that has nothing but DLPack, as torch's CUDA tensors of 16 bits have."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)


def reference(steps=3, **hyper):
    param = START.copy()
    optimizer = ss.AdamW([param], lr=0.1, backend="numpy", **hyper)
    for seed in range(steps):
        optimizer.step(random_like([param], seed))
    return param


@pytest.mark.parametrize("kind", [ByInterface, ByDLPack])
def test_another_owner_s_array_is_updated_in_place(kind):
    memory = cupy.asarray(START)
    optimizer = ss.AdamW([kind(memory)], lr=0.1, backend="cupy")
    for seed in range(3):
        optimizer.step([kind(cupy.asarray(g)) for g in random_like([START], seed)])
    assert_same_bits(memory.get(), reference())


def test_cupy_arrays_choose_the_backend_themselves():
    assert ss.SGD([cupy.asarray(START)]).backend.name == "cupy"
    assert ss.SGD({"a": [cupy.asarray(START)]}).backend.name == "cupy"


def test_numpy_arrays_are_refused_and_told_where_to_go():
    message = r"params\[0\] is a numpy.ndarray; backend 'cupy' .*cupy.asarray"
    with pytest.raises(TypeError, match=message):
        ss.SGD([START.copy()], backend="cupy")
    optimizer = ss.SGD([cupy.asarray(START)])
    with refused(optimizer, TypeError, r"the gradient of params\[0\] is a numpy.ndarray.*asarray"):
        optimizer.step([START])


def test_cupy_arrays_are_refused_on_the_host():
    for name in ("numpy", "numba"):
        with pytest.raises(TypeError, match=r"params\[0\] is a cupy.*updates NumPy arrays"):
            ss.SGD([cupy.asarray(START)], backend=name)


def test_asarray_brings_an_array_to_where_it_is_updated(any_backend):
    backend = ss.get_backend(any_backend)
    there = backend.asarray(START.copy())
    assert backend.accepts(there)
    assert backend.asarray(there) is there
    assert_same_bits(backend.to_numpy(there), START)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("rule", ["adamw", "lamb"])
def test_views_that_start_anywhere_have_the_same_bits(rule, dtype):
    """Wide loads where all arrays allow them, from whatever element on; otherwise narrow ones."""
    sizes, starts = (1, 3, 9, 4099), (0, 1, 2, 3, 5, 8)
    rng = np.random.default_rng(0)
    whole = rng.standard_normal(5000).astype(dtype)
    grads = rng.standard_normal(5000).astype(dtype)
    there, grads_there = cupy.asarray(whole), cupy.asarray(grads)
    for size in sizes:
        for start in starts:
            for shift in (0, 1):
                param = whole[start : start + size].copy()
                ss.Optimizer(rule, [param], lr=0.1, backend="numpy").step(
                    [grads[start + shift :][:size].copy()]
                )
                device = there.copy()
                view = device[start : start + size]
                ss.Optimizer(rule, [view], lr=0.1).step([grads_there[start + shift :][:size]])
                after = device.get()
                assert_same_bits(after[start : start + size], param)
                assert_same_bits(after[:start], whole[:start])
                assert_same_bits(after[start + size :], whole[start + size :])


def test_arrays_with_strides_are_updated_in_place():
    base = np.random.default_rng(0).standard_normal((6, 10)).astype(np.float32)
    host, device = base.copy(), cupy.asarray(base)
    grads = random_like([base[::2, 1::3].T], 0)
    ss.LAMB([host[::2, 1::3].T], lr=0.1, backend="numpy").step(grads)
    ss.LAMB([device[::2, 1::3].T], lr=0.1).step(on("cupy", grads))
    assert_same_bits(device.get(), host)


def test_interleaved_views_are_different_parameters():
    base = cupy.asarray(np.zeros(10))
    optimizer = ss.SGD([base[::2], base[1::2]], lr=1.0)
    optimizer.step(on("cupy", [np.ones(5), np.full(5, 2.0)]))
    assert_same_bits(base.get(), np.tile([-1.0, -2.0], 5))
    with pytest.raises(ValueError, match=r"params\[0\] and params\[1\] share memory"):
        ss.SGD([base[:6], base[5:]])


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (lambda: cupy.asarray(np.arange(3)), TypeError, "has dtype int64"),
        (lambda: ByInterface(cupy.asarray(START), data=(4096, True)), ValueError, "is read-only"),
        (
            lambda: cupy.ndarray((3, 3), np.float32, cupy.asarray(START).data, (0, 4)),
            ValueError,
            "overlaps itself",
        ),
        (
            lambda: cupy.asarray(np.zeros(9, np.uint8))[1:].view(np.float32),
            ValueError,
            "is not aligned",
        ),
    ],
)
def test_a_parameter_that_cannot_be_updated_is_refused(array, error, message):
    with pytest.raises(error, match=rf"params\[1\] .*{message}"):
        ss.SGD([cupy.asarray(START), array()])


@two_devices
def test_arrays_on_two_devices_are_refused():
    first = cupy.asarray(START)
    with cupy.cuda.Device(1):
        second = cupy.asarray(START)
    with pytest.raises(ValueError, match=r"params\[0\] is on device 0 and params\[1\] on device 1"):
        ss.SGD([first, second])
    optimizer = ss.SGD([first])
    with refused(optimizer, ValueError, r"the gradient of params\[0\] is on device 1"):
        optimizer.step([second])
    with cupy.cuda.Device(1):
        rows = ss.IndexedSlices(first[:2], cupy.asarray(np.array([1, 0])))
    with refused(optimizer, ValueError, r"has indices: the array is on device 1; the parameters"):
        optimizer.step([rows])


@two_devices
def test_another_device_than_the_current_one():
    with cupy.cuda.Device(1):
        param, grads = cupy.asarray(START), [on("cupy", random_like([START], k)) for k in range(3)]
    optimizer = ss.AdamW([param], lr=0.1, clip_global_norm=1e9)
    for grad in grads:
        optimizer.step(grad)
    assert_same_bits(param.get(), reference(clip_global_norm=1e9))


@pytest.mark.parametrize("where", ["param", "state"])
def test_a_gradient_in_a_parameter_or_in_state_is_refused(where):
    param = cupy.asarray(START)
    optimizer = ss.Adam([param])
    grad = param if where == "param" else optimizer.state[0]["exp_avg"]
    with refused(optimizer, ValueError, "shares memory with"):
        optimizer.step([grad])
    with refused(optimizer, ValueError, r"has shape \(4,\); the parameter has \(5,\)"):
        optimizer.step([param[:4].copy()])
    with refused(optimizer, TypeError, "has dtype float64; expected float32"):
        optimizer.step([cupy.asarray(START.astype(np.float64))])


def test_snapshots_are_copies_on_the_host():
    optimizer = ss.Adam([cupy.asarray(START)])
    before = snapshot(optimizer)
    optimizer.step([cupy.asarray(START)])
    assert before["step 0"] == 0
    assert not before["exp_avg 0"].any()
