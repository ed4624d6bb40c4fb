"""Tensors that cannot be used, as parameters or as gradients: the message names the parameter, what
came and what was expected, and nothing is changed."""

from __future__ import annotations

import pytest
import samestep as ss
import torch
from helpers import HOST, refused


def wrapped():
    class Wrapper(torch.Tensor):
        @staticmethod
        def __new__(cls, inner):
            return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

        def __init__(self, inner):
            self.inner = inner

        def __tensor_flatten__(self):
            return ["inner"], None

        @staticmethod
        def __tensor_unflatten__(inner, meta, size, stride):
            return Wrapper(inner["inner"])

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            raise NotImplementedError

    return Wrapper(torch.ones(3))


def in_inference_mode():
    with torch.inference_mode():
        return torch.ones(3)


UNUSABLE = {
    "compressed": (
        lambda: torch.ones(3, 3).to_sparse_csr(), "is a sparse_csr tensor; expected a strided"
    ),
    "meta": (lambda: torch.ones(3, device="meta"), "is on the meta device and has no elements"),
    "integers": (lambda: torch.ones(3, dtype=torch.int64), "has dtype int64; expected one of"),
    "8 bits": (lambda: torch.ones(3).to(torch.float8_e4m3fn), "has dtype float8_e4m3fn; expected"),
    "half complex": (lambda: torch.ones(3, dtype=torch.complex32), "has dtype complex32; expec"),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "is quantized"
    ),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(3)]), "is a nested tensor"),
    "wrapper": (wrapped, "is a .*Wrapper on cpu, which wraps other tensors; pass what it"),
}  # fmt: skip
PARAMETERS = {
    "sparse": (lambda: torch.ones(3).to_sparse(), "is a sparse_coo tensor; expected a strided"),
    "computed": (lambda: torch.ones(3, requires_grad=True) * 2, "is not a leaf"),
    "conjugate": (
        lambda: torch.ones(3, dtype=torch.complex64).conj(), "is a lazy conjugate or negative"
    ),
    "inference": (in_inference_mode, "was made in inference mode"),
    "expanded": (lambda: torch.ones(1).expand(3), "overlaps itself"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*(nested tensors|quantiz|ComplexHalf|CSR).*")
@pytest.mark.parametrize("kind", [*UNUSABLE, *PARAMETERS])
@pytest.mark.parametrize("backend", HOST)
def test_unusable_parameters_are_named(backend, kind):
    make, message = (UNUSABLE | PARAMETERS)[kind]
    with pytest.raises((TypeError, ValueError), match=rf"params\['w'\] {message}"):
        ss.AdamW({"v": torch.ones(3), "w": make()}, backend=backend)


@pytest.mark.filterwarnings("ignore:.*(nested tensors|quantiz|ComplexHalf|CSR).*")
@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("backend", HOST)
def test_unusable_gradients_are_named_and_change_nothing(backend, kind):
    optimizer = ss.AdamW([torch.ones(3), torch.ones(3)], backend=backend)
    optimizer.step([torch.ones(3)] * 2)
    make, message = UNUSABLE[kind]
    with refused(optimizer, TypeError, rf"the gradient of params\[1\] {message}"):
        optimizer.step([torch.ones(3), make()])


@pytest.mark.parametrize("backend", HOST)
def test_wrong_gradients_are_named_and_change_nothing(backend):
    half = torch.ones(3, dtype=torch.bfloat16)
    optimizer = ss.AdamW([torch.ones(3), half], backend=backend)
    good = [torch.ones(3), torch.ones(3)]
    optimizer.step(good)
    for wrong, error, message in [
        (torch.ones(4), ValueError, r"params\[0\] has shape \(4,\); the parameter has \(3,\)"),
        (torch.ones(3).double(), TypeError, "has dtype float64; expected float32, as the param"),
        ([1.0] * 3, TypeError, "is a list; expected"),
        (half[:3].float().expand(3), None, ""),
        (optimizer.param_groups[0]["params"][0], ValueError, "shares memory with"),
        (optimizer.state[0]["exp_avg"], ValueError, "shares memory with"),
    ]:
        if error is not None:
            with refused(optimizer, error, message):
                optimizer.step([wrong, good[1]])
    with pytest.raises(ValueError, match=r"params\[0\] and params\[1\] share memory"):
        ss.AdamW([half, half[1:]], backend=backend)
