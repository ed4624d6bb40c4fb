"""The choice of an implementation on a CUDA device, which needs no device."""

from __future__ import annotations

import contextlib
import runpy

import pytest
import samestep as ss
import samestep.backends.torch as torch_backend
import torch
from conftest import needs_double
from helpers import run_python
from samestep.backends.torch import arrays, device_choice, on_device, work
from samestep.backends.torch.arrays import TorchArrays

CUDA = torch.device("cuda", 0)
KNOWS_CUDA = torch_backend._knows_cuda.__wrapped__  # what remembers


@pytest.fixture
def without_bindings(monkeypatch):
    def missing():
        raise RuntimeError("cuda-bindings, NVIDIA's Python interface to CUDA, is not installed")

    for module in (device_choice, torch_backend):
        monkeypatch.setattr(module, "compiler_version", missing)


def test_fused_is_the_default():
    for implementation, name in [("", "torch"), ("fused", "torch:fused")]:
        backend = device_choice.device_backend(implementation, CUDA)
        assert (backend.implementation, backend.name) == ("fused", name)


@pytest.mark.usefixtures("without_bindings")
def test_without_the_bindings_it_is_foreach_and_fused_says_what_to_install():
    assert device_choice.device_backend("", CUDA).implementation == "foreach"
    message = r"'torch:fused' cannot run on cuda:0: cuda-bindings.*pip install cuda-bindings"
    with pytest.raises(RuntimeError, match=message):
        device_choice.device_backend("fused", CUDA)


def test_nothing_else_needs_the_bindings():
    script = """
import sys
sys.modules["cuda"] = None
import samestep.torch, torch
from samestep.backends.torch.device_choice import device_backend
p = torch.ones(3, requires_grad=True)
p.grad = torch.ones(3)
samestep.torch.SGD([p], lr=1.0).step()
print(p.tolist(), device_backend("", torch.device("cuda", 0)).implementation)
"""
    assert run_python(script) == "[0.0, 0.0, 0.0] foreach\n"


def cuda_build(monkeypatch, version):
    monkeypatch.setattr(runpy, "run_path", lambda file: {"cuda": version})
    monkeypatch.setattr(torch_backend, "_knows_cuda", KNOWS_CUDA)
    return torch_backend.availability().detail


def test_what_is_said_of_cuda(monkeypatch):
    assert "CUDA" not in cuda_build(monkeypatch, None)
    monkeypatch.setattr(torch_backend, "compiler_version", lambda: "13.0")
    assert cuda_build(monkeypatch, "13.0").endswith("; fused on CUDA by NVRTC 13.0")


@pytest.mark.usefixtures("without_bindings")
def test_what_is_said_where_the_bindings_are_missing(monkeypatch):
    assert cuda_build(monkeypatch, "13.0").endswith(
        "; no fused on CUDA: cuda-bindings, NVIDIA's Python interface to CUDA, is not installed"
    )


def test_slices_suit_the_device():
    assert work.slice_on(torch.device("cpu")) == (work.SLICE, work.DIRECT)
    slice_, direct = work.slice_on(CUDA)
    sizes = [10_000] * 1000 + [50_000_000]
    pieces = [len(w.pieces) for w in work.flat_work(sizes, range(1001), True, slice_, work.slice_on(CUDA))]  # fmt: skip
    assert sorted(pieces) == [1, 1, 1, 1000]  # all small ones together; 16 M elements at a time
    assert direct < slice_


@pytest.mark.parametrize("implementation", ["forloop", "foreach"])
def test_gradients_of_some_rows_where_a_rule_s_operations_run_on_a_device(
    implementation, monkeypatch
):
    """A device that is the host: what is done there is all of PyTorch's."""
    monkeypatch.setattr(TorchArrays, "current", lambda self: contextlib.nullcontext())
    for module in (arrays, on_device):
        monkeypatch.setattr(module, "DEVICES", ("cpu",))
    there = on_device.OperationsOnDevice("there", implementation, TorchArrays(torch.device("cpu")))
    monkeypatch.setattr(torch_backend, "get_backend", lambda implementation, given: there)
    torch.manual_seed(0)
    start, values = torch.randn(30, 3), torch.randn(40, 3)
    indices, results = torch.randint(30, (40,)), []
    elements = (torch.randn(30, 3) * (torch.rand(30, 3) < 0.2)).to_sparse()
    for backend in ("torch", "numpy"):
        results.append(start.clone())
        optimizer = ss.SparseAdam([results[-1]], backend=backend, clip_global_norm=1.0)
        assert (optimizer.backend is there) == (backend == "torch")
        with torch.inference_mode():
            optimizer.step([ss.IndexedSlices(values, indices)])
        optimizer.step([elements])
    assert torch.equal(*results)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "complex64"])
@pytest.mark.parametrize("rule", ["adamw", "lamb"])
@needs_double
def test_tensors_with_strides_are_updated_in_place(rule, dtype, monkeypatch):
    """Kernels are done here when they are launched: PyTorch copies back at once, behind the
    double."""
    import doubled_tensors
    from cuda.bindings import driver

    original = driver.cuLaunchKernel

    def launch(*arguments):
        status = original(*arguments)
        doubled_tensors.finish()
        return status

    monkeypatch.setattr(driver, "cuLaunchKernel", launch)
    torch.manual_seed(0)
    base = torch.randn(6, 10).to(getattr(torch, dtype))
    grad = torch.randn(4, 3).to(base.dtype)
    results = {}
    for backend in ("doubled", "numpy"):
        results[backend] = base.clone()
        ss.Optimizer(rule, [results[backend][1:5, ::4]], backend=backend).step([grad])
    assert torch.equal(results["doubled"], results["numpy"])
    assert not torch.equal(results["numpy"], base)
