"""Stochastic rounding of PyTorch's classes: the bits of the reference."""

from __future__ import annotations

import copy

import ml_dtypes
import numpy as np
import pytest
import samestep as ss
import samestep.torch as st
import torch
from samestep.golden.compare import first_difference

SHAPES = ((40, 3), (5,), (9, 9))
HYPER = dict(lr=0.01, weight_decay=0.01, rounding="stochastic", seed=5, state_dtype="float16")


def made(**hyper) -> tuple[list[torch.nn.Parameter], st.Optimizer]:
    generator = torch.Generator().manual_seed(1)
    params = [
        torch.nn.Parameter(torch.randn(shape, generator=generator).to(torch.bfloat16))
        for shape in SHAPES
    ]
    return params, st.AdamW(params, **HYPER, **hyper)


def take(params: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    """The first parameter has its first gradient at step 1."""
    for number in steps:
        generator = torch.Generator().manual_seed(number)
        for k, param in enumerate(params):
            grad = torch.randn(param.shape, generator=generator).to(torch.bfloat16)
            param.grad = None if k == 0 and number == 0 else grad
        optimizer.step()


def bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().view(torch.int16).numpy()


@pytest.mark.parametrize(
    "how", [dict(foreach=False), dict(foreach=True), dict(fused=True)], ids=str
)
def test_the_bits_of_the_reference(how):
    params, optimizer = made(**how)
    start = [bits(param).copy().view(ml_dtypes.bfloat16) for param in params]
    reference = ss.AdamW(start, backend="numpy", **HYPER)
    for number in range(3):
        take(params, optimizer, range(number, number + 1))
        reference.step(
            [None if p.grad is None else bits(p.grad).view(ml_dtypes.bfloat16) for p in params]
        )
    for param, expected, state in zip(params, start, reference.state, strict=True):
        assert first_difference(bits(param), expected.view(np.int16)) is None
        for name, array in state.items():
            assert (
                first_difference(bits(optimizer.state[param][name]), array.view(np.int16)) is None
            )


def test_a_resumed_run_is_the_uninterrupted_one():
    whole_params, whole = made()
    take(whole_params, whole, range(4))
    params, first = made()
    take(params, first, range(2))
    others, other = made()
    other.param_groups[0]["seed"] = 9
    with torch.no_grad():
        for new, old in zip(others, params, strict=True):
            new.copy_(old)
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    assert other.param_groups[0]["seed"] == 5
    take(others, other, range(2, 4))
    for ours, expected in zip(others, whole_params, strict=True):
        assert torch.equal(ours, expected)


def test_a_seed_may_change_and_rounding_may_not():
    params, optimizer = made()
    take(params, optimizer, range(2))
    optimizer.param_groups[0]["seed"] = 6
    take(params, optimizer, range(2, 3))
    same, other = made()
    take(same, other, range(3))
    assert not torch.equal(params[2], same[2])
    optimizer.param_groups[0]["rounding"] = "nearest"
    with pytest.raises(ValueError, match="rounding was 'stochastic'"):
        take(params, optimizer, range(3, 4))
