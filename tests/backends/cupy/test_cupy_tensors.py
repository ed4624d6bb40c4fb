"""PyTorch's tensors on the CuPy backend, behind the double: tensors in host memory that say that
they are on a CUDA device."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import samestep as ss
import torch
from conftest import needs_double
from cupy_steps import Counts, grads, start
from samestep.golden.compare import assert_same_bits

pytestmark = needs_double


@pytest.fixture(autouse=True)
def _on_cuda(monkeypatch):
    """DLPack says that tensors are on device 0, and PyTorch's current stream is the null stream."""
    original = torch.Tensor.__dlpack__
    monkeypatch.setattr(torch.Tensor, "__dlpack_device__", lambda self: (2, 0))
    monkeypatch.setattr(torch.Tensor, "__dlpack__", lambda self, stream: original(self))
    null = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: null)


def tensors(arrays):
    return [torch.from_numpy(np.array(array)) for array in arrays]


def finish():
    import cupy

    cupy.cuda.Device().synchronize()


def assert_alike(params, reference):
    finish()
    for param, expected in zip(params, reference, strict=True):
        assert_same_bits(param.numpy(), expected)


def test_steps_have_the_same_bits_and_look_at_tensors_without_dlpack(monkeypatch):
    import cupy

    reference, params = start(), tensors(start())
    ours = ss.AdamW(params, backend="cupy", clip_global_norm=1.0)
    host = ss.AdamW(reference, backend="numpy", clip_global_norm=1.0)
    steps = [tensors(grads(seed)) for seed in range(4)]
    versions = [param._version for param in params]
    ours.step(steps[0])
    conversions = Counts(monkeypatch, cupy, "from_dlpack")
    for gradients in (steps[1], steps[1], *steps[2:]):
        ours.step(gradients)
    assert conversions.count == 0
    assert [param._version - old for param, old in zip(params, versions, strict=True)] == [5] * 4
    for seed in (0, 1, 1, 2, 3):
        host.step(grads(seed))
    assert_alike(params, reference)


def test_a_tensor_that_stands_for_other_memory_is_followed():
    reference, params = start(), tensors(start())
    ours, host = ss.AdamW(params, backend="cupy"), ss.AdamW(reference, backend="numpy")
    gradients = tensors(grads(0))
    for _ in range(3):
        ours.step(gradients)
        host.step(grads(0))
        finish()
        params[0].data = params[0].data.clone()
    assert_alike(params, reference)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda g, o: g.double(), TypeError, "has dtype float64; expected float32"),
        (lambda g, o: g[1:], ValueError, r"has shape \(299, 7\); the parameter has \(300, 7\)"),
        (lambda g, o: o.state[0]["exp_avg"], ValueError, "shares memory with"),
        (lambda g, o: g.to_sparse(), TypeError, "is sparse, of some rows; adamw .* changes rows"),
    ],
)
def test_wrong_gradients_are_refused(wrong, error, message):
    params = tensors(start())
    optimizer = ss.AdamW(params, backend="cupy")
    gradients = tensors(grads(0))
    optimizer.step(gradients)
    finish()  # before any tensor is gone: their memory is the host's
    with pytest.raises(error, match=message):
        optimizer.step([wrong(gradients[0], optimizer), *gradients[1:]])


def test_sparse_tensors_step_the_rows_and_elements_that_they_name():
    reference, params = start(), tensors(start())
    ours, host = ss.SparseAdam(params, backend="cupy"), ss.SparseAdam(reference, backend="numpy")
    rows = torch.tensor([[5, 299, 5, 0]])
    for seed in range(3):
        first, *others = tensors(grads(seed))
        elements = (first * (first > 1)).to_sparse()
        whole = torch.sparse_coo_tensor(rows, first[:4], first.shape, check_invariants=False)
        for given in (elements, whole):
            for optimizer in (ours, host):
                optimizer.step([given, *others])
            finish()  # before the others are gone
    assert_alike(params, reference)


def test_gradients_with_strides_are_copied():
    reference, params = start(), tensors(start())
    gradients = tensors(grads(0))
    gradients[0] = gradients[0].T.contiguous().T
    ss.AdamW(params, backend="cupy").step(gradients)
    ss.AdamW(reference, backend="numpy").step(grads(0))
    assert_alike(params, reference)


def test_the_torch_class_refuses_it_and_names_the_kernels_for_tensors():
    import samestep.torch as st

    params = [param.requires_grad_() for param in tensors(start())]
    optimizer = st.AdamW(params, backend="cupy")
    for param in params:
        param.grad = torch.zeros_like(param)
    with pytest.raises(TypeError, match=r"backend 'cupy' has the state .* \(\"torch:fused\" runs"):
        optimizer.step()
    assert not optimizer.state[params[0]]
