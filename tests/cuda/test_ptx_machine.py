"""The interpreter of PTX notices every kind of mistake it is there for: kernels broken on purpose,
compiled by NVRTC as all others are."""

from __future__ import annotations

import numpy as np
import nvrtc
import ptx
import pytest
from ptx_machine import Machine
from ptx_memory import GlobalMemory
from ptx_operations import Fault

HEAD = 'extern "C" __global__ void __launch_bounds__(64) f(float *x, float *y, long long n)\n{\n'
T = "    const int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;\n"


def execute(body, *, size=128, grid=(2, 1), block=64, offset=0, y_is_read_only=False, n=None):
    """Run ``body`` on vectors ``x`` (0, 1, 2, ...) and ``y`` (zeros); what they are then."""
    (kernel,) = ptx.read(nvrtc.ptx(HEAD + T + body + "\n}\n")).values()
    x, y = np.arange(size, dtype=np.float32), np.zeros(size, np.float32)
    shown = y.view()
    shown.flags.writeable = not y_is_read_only
    places = [np.uint64(a.ctypes.data + offset) for a in (x, y)]
    n = np.int64(size) if n is None else n
    Machine(kernel, grid, block).run([*places, n], GlobalMemory([x, shown]))
    return x, y


def test_it_runs_what_is_right():
    _, y = execute("__shared__ float s[64]; s[t] = x[i]; __syncthreads(); y[i] = s[63 - t] / 3;")
    expected = np.arange(128, dtype=np.float32).reshape(2, 64)[:, ::-1].reshape(-1) / np.float32(3)
    assert np.array_equal(y, expected)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y[i + 1] = x[i];", "outside of every array"),
        ("y[i] = x[i - 1];", "outside of every array"),
        ("y[i / 2] = x[i];", "race: write"),
        ("y[t] = x[i];", "race: write"),
        ("if (i == 0) y[0] = x[100]; else if (i == 100) x[100] = 1;", "race"),
        ("__shared__ float s[64]; s[t] = x[i]; y[i] = s[63 - t];", "race: read"),
        ("__shared__ float s[64]; s[t] = x[i]; __syncthreads(); y[i] = s[t ^ 1]; s[t] = 0; __syncthreads(); y[i] += s[t];",
         "race: write"),
        ("__shared__ float s[64]; if (t) s[t] = x[i]; __syncthreads(); y[i] = s[t];", "nobody wrote"),
        ("__shared__ float s[64]; s[t + n - 127] = x[i]; __syncthreads(); y[i] = s[0];", "outside of shared"),
        ("if (t < 32) __syncthreads(); y[i] = x[i];", "barrier"),
        ("if (t < 32) return; __syncthreads(); y[i] = x[i];", "barrier"),
        ("volatile float *z = y; y[i] = z[i];", "not modelled"),
        ("for (;;) { __syncthreads(); y[i] = x[i]; }", "does not end"),
        ("y[i] = __fdividef(x[i], 3.0f);", "not exact"),
        ("y[i] = fmaf(x[i], x[i], 1.0f);", "not exact"),
        ("y[i] = atomicAdd(x + i, 1.0f);", "not exact|not modelled"),
        ("y[i] = __shfl_xor_sync(~0u, x[i], 1);", "not exact|not modelled"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_fault(body, message, monkeypatch):
    monkeypatch.setattr(Machine, "most", 5000)
    with pytest.raises(Fault, match=message):
        execute(body)


def test_misaligned_addresses():
    wide = "((float4 *)y)[i] = ((const float4 *)x)[i];"
    execute(wide, size=512)
    with pytest.raises(Fault, match="misaligned access of 16 bytes"):
        execute(wide, size=516, offset=4)
    with pytest.raises(Fault, match="misaligned access of 4 bytes"):
        execute("y[i] = x[i];", size=130, offset=2)


def test_memory_that_is_only_read():
    with pytest.raises(Fault, match="only read"):
        execute("y[i] = x[i];", y_is_read_only=True)
    with pytest.raises(Fault, match="constant"):
        execute("const float a = __ldg(x + i); x[i] = 1; y[i] = a;")


def test_arguments_of_another_size():
    with pytest.raises(Fault, match="has 8 bytes, the argument 4"):
        execute("y[i] = x[i] + n;", n=np.int32(128))


def test_threads_that_part_meet_again():
    _, y = execute(
        "float a = x[i]; for (int k = 0; k < t; k++) a = a + 1; __syncthreads(); y[i] = a;"
    )
    t = np.arange(128, dtype=np.float32) % 64
    assert np.array_equal(y, np.arange(128, dtype=np.float32) + t)


def test_text_that_is_not_understood_is_refused():
    text = nvrtc.ptx(HEAD + T + "y[i] = x[i];\n}\n")
    with pytest.raises(ValueError, match="not understood"):
        ptx.read(
            text.replace(".reg .pred", ".local .pred", 1).replace(".reg .b32", ".local .b32", 1)
        )
