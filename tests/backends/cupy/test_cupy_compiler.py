"""From text to code, and what is said where there is no device, driver or compiler."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import samestep as ss
from command_line import call
from conftest import UNDER_TEST, needs_double
from cupy_steps import Counts
from helpers import on, run_python
from samestep.backends import cupy as backend
from samestep.backends.launching.source_cache import VARIABLE

under_test = pytest.mark.skipif("cupy" not in UNDER_TEST, reason="cupy is not under test")
if "cupy" in UNDER_TEST:
    import cupy
    from cuda.bindings import nvrtc
    from samestep.backends.cuda import compiler, driver

SOURCE = 'extern "C" __global__ void f(float *x) { x[threadIdx.x] = 1; }'


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Nothing is cached, on the disk or in the process."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(compiler, "_modules", {})
    return tmp_path


def functions(label, source):
    driver.enter(0)
    return compiler.functions(label, source, ["f"], 0)


@under_test
@needs_double
def test_kernels_are_compiled_once_and_kept_on_the_disk(fresh, monkeypatch):
    count = Counts(monkeypatch, nvrtc, "nvrtcCompileProgram")
    for _ in range(2):
        functions("f", SOURCE)
    assert count.count == 1
    monkeypatch.setattr(compiler, "_modules", {})  # another process
    functions("f", SOURCE)
    assert count.count == 1
    functions("f", SOURCE + "\n")
    monkeypatch.setattr(nvrtc, "nvrtcVersion", lambda: (nvrtc.OK, 99, 0))
    functions("f", SOURCE)
    assert count.count == 3
    assert len(list(fresh.iterdir())) == 3


@under_test
def test_a_damaged_file_is_compiled_again(fresh):
    functions("f", SOURCE)
    (file,) = fresh.iterdir()
    for content in (file.read_bytes()[:100], b""):
        file.write_bytes(content)
        compiler._modules.clear()
        functions("f", SOURCE)
        assert len(file.read_bytes()) > 1000


@under_test
def test_what_the_compiler_says_is_passed_on(fresh):
    with pytest.raises(
        RuntimeError, match=r"NVRTC .* cannot compile broken with -arch=sm_80(.|\n)*error"
    ):
        functions("broken", SOURCE.replace("1;", "one;"))
    assert not list(fresh.iterdir())


@under_test
@needs_double
def test_options_on_which_the_bits_depend_are_refused_by_the_double(fresh, monkeypatch):
    """The control of the double's check of options."""
    for options in (
        (*compiler.OPTIONS, "-ftz=true"),  # the last one wins: what RawModule does
        tuple(o for o in compiler.OPTIONS if "fmad" not in o),
        (*compiler.OPTIONS, "--use_fast_math"),
    ):
        monkeypatch.setattr(compiler, "OPTIONS", options)
        with pytest.raises(RuntimeError, match="INVALID_OPTION"):
            functions("f", SOURCE)


@under_test
@pytest.mark.parametrize(
    ("capability", "option"),
    [(75, "-arch=sm_75"), (90, "-arch=sm_90"), (130, "-arch=compute_121")],
)
@needs_double
def test_a_device_newer_than_the_compiler_gets_intermediate_code(capability, option, fresh):
    assert compiler.target(capability) == option
    code = compiler.compiled("f", SOURCE, option)
    assert "sm_" in option or code.endswith(b"\0")  # text, as a C string


@under_test
def test_a_device_that_the_compiler_has_given_up_is_refused():
    with pytest.raises(
        RuntimeError, match=r"compute capability 6\.1; this NVRTC compiles for 7\.5"
    ):
        compiler.target(61)


# ---- where it cannot run


@under_test
@pytest.mark.parametrize(
    ("changes", "detail", "install"),
    [
        (dict(DRIVER=0), "there is no CUDA driver", "it needs an NVIDIA GPU and its driver"),
        (dict(DRIVER=12020), "supports CUDA 12.2, and this CuPy is for CUDA 13.2", "cuda12"),
        (dict(DEVICES=0), "there is no CUDA device", "NVIDIA GPU"),
    ],
)
@needs_double
def test_a_machine_without_a_device_says_so_in_one_line(
    changes, detail, install, monkeypatch, capsys
):
    for name, value in changes.items():
        monkeypatch.setattr(cupy.cuda.runtime, name, value)
    status = ss.available_backends()["cupy"]
    assert not status.available
    assert detail in status.detail
    assert install in status.install
    assert "\n" not in status.detail + status.install
    with pytest.raises(RuntimeError, match=r"backend 'cupy' cannot run here"):
        ss.SGD([np.ones(2)], backend="cupy")
    assert call("backends") == 0
    assert detail.split(",")[0] in " ".join(capsys.readouterr().out.split())


@under_test
def test_a_missing_compiler_is_named_with_the_extra_that_brings_it(monkeypatch):
    def missing():
        raise RuntimeError('Failure finding "libnvrtc.so.13": No such file\nmore')

    monkeypatch.setattr(nvrtc, "nvrtcVersion", missing)
    status = backend.availability()
    assert not status.available
    assert "NVRTC, CUDA's compiler, cannot be loaded (Failure finding" in status.detail
    assert "[cuda13]" in status.install


@under_test
def test_a_compiler_that_no_test_compiles_with_is_refused(monkeypatch):
    monkeypatch.setattr(compiler, "version", lambda: (11, 8))
    status = backend.availability()
    assert status.detail == "NVRTC, CUDA's compiler, 11.8 is too old, it takes 12.0 or newer"
    assert "[cuda13]" in status.install


@under_test
def test_missing_bindings_are_named_with_the_extra_that_brings_them(monkeypatch):
    found = importlib.util.find_spec

    def without(name, package=None):
        return None if name == "cuda.bindings" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    status = backend.availability()
    assert (status.available, status.detail) == (
        False,
        "cuda-bindings, NVIDIA's Python interface to CUDA, is not installed",
    )
    assert "[cuda13]" in status.install


@under_test
@pytest.mark.parametrize("version", ["13.6.0", "9.0"])
def test_a_cupy_without_bfloat16_is_too_old(version, monkeypatch):
    monkeypatch.setattr(cupy, "__version__", version)
    assert f"CuPy {version} is too old" in backend.availability().detail


def test_without_cupy_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status = backend.availability()
    assert (status.available, status.detail) == (False, "CuPy is not installed")
    assert "[cuda13]" in status.install


def test_importing_samestep_and_asking_for_backends_imports_no_cupy_that_is_not_there():
    script = """
import sys
import samestep
assert "cupy" not in sys.modules
sys.modules["cupy"] = None
print(samestep.available_backends()["cupy"].available)
"""
    assert run_python(script).strip() == "False"


# ---- controls of the double


@under_test
def test_control_a_wrong_operation_in_the_text_is_noticed(fresh, monkeypatch):
    original = compiler.compiled

    def flawed(label, source, architecture):
        assert "rest1 * grad" in source
        return original(label, source.replace("rest1 * grad", "grad * rest2"), architecture)

    param = np.ones(3, np.float32)
    reference, right, wrong = param.copy(), *on("cupy", [param, param])
    grad = np.arange(1, 4, dtype=np.float32)
    ss.AdamW([reference], lr=0.1, backend="numpy").step([grad])
    ss.AdamW([right], lr=0.1).step(on("cupy", [grad]))
    compiler._modules.clear()
    (fresh / next(fresh.iterdir()).name).unlink()
    monkeypatch.setattr(compiler, "compiled", flawed)
    ss.AdamW([wrong], lr=0.1).step(on("cupy", [grad]))
    assert (right.get() == reference).all()
    assert (wrong.get() != reference).all()


@under_test
@pytest.mark.parametrize("order", [0, 1, 2])
@needs_double
def test_the_order_of_threads_does_not_matter(order, fresh, monkeypatch):
    """And with a barrier less it does, in one order at least."""
    assert results_in(order, monkeypatch) == results_in(0, monkeypatch)


@under_test
@needs_double
def test_control_a_missing_barrier_is_noticed(fresh, monkeypatch):
    original = compiler.compiled
    right = results_in(0, monkeypatch)
    compiler._modules.clear()
    for file in fresh.iterdir():
        file.unlink()
    monkeypatch.setattr(
        compiler,
        "compiled",
        lambda label, source, architecture: original(
            label,
            source.replace(
                "lanes[lane + width];\n        __syncthreads();", "lanes[lane + width];"
            ),
            architecture,
        ),
    )
    assert any(results_in(order, monkeypatch) != right for order in (0, 1, 2))


def results_in(order, monkeypatch):
    from cupy import _host

    monkeypatch.setattr(_host, "ORDER", order)
    rng = np.random.default_rng(0)
    param, grad = (cupy.asarray(rng.standard_normal((70, 300)).astype(np.float32)) for _ in "ab")
    flat, flat_grad = param.copy().reshape(-1), grad.copy().reshape(-1)
    ss.Adafactor([param]).step([grad])
    ss.LAMB([flat], clip_global_norm=1.0).step([flat_grad])
    return param.get().tobytes(), flat.get().tobytes()
