"""States of PyTorch's classes that are stored in fewer bits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import samestep as ss
import samestep.torch as st
import torch
from samestep.golden.compare import first_difference

IMPLEMENTATIONS = [dict(foreach=False), dict(foreach=True), dict(fused=True)]


def made(**hyper) -> tuple[list[torch.nn.Parameter], st.Optimizer]:
    generator = torch.Generator().manual_seed(1)
    params = [
        torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((40, 3), (5,))
    ]
    return params, st.AdamW(params, lr=0.01, **hyper)


def take(params: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for number in steps:
        generator = torch.Generator().manual_seed(number)
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator)
        optimizer.step()


def same(ours: torch.Tensor, expected: torch.Tensor) -> bool:
    assert ours.dtype == expected.dtype
    return bool(torch.equal(ours, expected))


@pytest.mark.parametrize("how", IMPLEMENTATIONS, ids=str)
@pytest.mark.parametrize("codec", ["bfloat16", "float16"])
def test_state_shows_tensors_of_the_codec_with_the_bits_of_the_reference(how, codec):
    params, optimizer = made(state_dtype=codec, **how)
    start = [param.detach().numpy().copy() for param in params]
    reference = ss.AdamW(start, lr=0.01, weight_decay=0.01, backend="numpy", state_dtype=codec)
    for number in range(3):
        take(params, optimizer, range(number, number + 1))
        reference.step([param.grad.numpy() for param in params])
    for param, expected, state in zip(params, start, reference.state, strict=True):
        assert first_difference(param.detach().numpy(), expected) is None
        for name, array in state.items():
            found = optimizer.state[param][name]
            assert found.dtype == getattr(torch, codec)
            assert first_difference(found.float().numpy(), array.astype(np.float32)) is None


def test_a_resumed_run_is_the_uninterrupted_one():
    whole_params, whole = made(state_dtype={"exp_avg": "bfloat16"})
    take(whole_params, whole, range(4))
    params, first = made(state_dtype={"exp_avg": "bfloat16"})
    take(params, first, range(2))
    saved = copy.deepcopy(first.state_dict())
    others, other = made(state_dtype={"exp_avg": "bfloat16"})
    with torch.no_grad():
        for new, old in zip(others, params, strict=True):
            new.copy_(old)
    other.load_state_dict(saved)
    take(others, other, range(2, 4))
    for ours, expected in zip(others, whole_params, strict=True):
        assert same(ours, expected)
        for name in ("exp_avg", "exp_avg_sq"):
            assert same(other.state[ours][name], whole.state[expected][name])


def test_state_of_torch_is_loaded_rounded_once():
    params, _ = made()
    theirs = torch.optim.AdamW(params, lr=0.01)
    take(params, theirs, range(2))
    ours = st.AdamW(params, lr=0.01, state_dtype="bfloat16")
    ours.load_state_dict(theirs.state_dict())
    before = {p: theirs.state[p]["exp_avg"].to(torch.bfloat16) for p in params}
    take(params, ours, range(2, 3))
    assert ours.param_groups[0]["state_dtype"] == "bfloat16"
    for param in params:
        # one more step by float32's arithmetic from the rounded state
        expected = 0.9 * before[param].float() + (1 - 0.9) * param.grad
        torch.testing.assert_close(
            ours.state[param]["exp_avg"].float(), expected, rtol=0.01, atol=1e-3
        )
        assert ours.state[param]["exp_avg"].dtype == torch.bfloat16


def test_a_dict_is_read_again_only_when_it_has_changed(monkeypatch):
    params, optimizer = made(state_dtype={"exp_avg": "bfloat16"})
    take(params, optimizer, range(1))
    with monkeypatch.context() as patched:
        patched.delattr(ss.Rule, "hyperparameters")
        take(params, optimizer, range(1, 2))
    optimizer.param_groups[0]["state_dtype"]["exp_avg"] = "float16"
    with pytest.raises(ValueError, match=r"state_dtype was .'exp_avg': 'bfloat16'"):
        take(params, optimizer, range(2, 3))
    optimizer.param_groups[0]["state_dtype"]["exp_avg"] = "bfloat16"
    take(params, optimizer, range(2, 3))


def test_what_cannot_be_stored_is_refused_before_the_group_is_added():
    double = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    with pytest.raises(TypeError, match="state_dtype='bfloat16' is for real parameters"):
        st.AdamW([double], state_dtype="bfloat16")
    with pytest.raises(ValueError, match="state_dtype is 'int2'"):
        made(state_dtype="int2")
    _, optimizer = made(state_dtype="bfloat16")
    with pytest.raises(ValueError, match="names 'nothing'"):
        optimizer.add_param_group({"params": [double], "state_dtype": {"nothing": "float16"}})
    assert len(optimizer.param_groups) == 1


def test_a_codec_cannot_change_between_steps():
    params, optimizer = made(state_dtype="bfloat16")
    take(params, optimizer, range(1))
    optimizer.param_groups[0]["state_dtype"] = None
    with pytest.raises(ValueError, match="state_dtype was 'bfloat16'"):
        take(params, optimizer, range(1, 2))


BOTH = {"exp_avg": "int8", "exp_avg_sq": "uint8"}
FOUR = {"exp_avg": "int4", "exp_avg_sq": "uint4"}
OF_BLOCKS = {"exp_avg": torch.int8, "exp_avg_scale": torch.float32,
             "exp_avg_sq": torch.uint8, "exp_avg_sq_scale": torch.float32}  # fmt: skip


@pytest.mark.parametrize("codecs", [BOTH, FOUR], ids=["8", "4"])
def test_states_in_blocks_are_tensors_of_codes_and_scales_and_resume(codecs):
    dtypes = OF_BLOCKS if codecs is BOTH else OF_BLOCKS | {"exp_avg": torch.uint8}
    whole_params, whole = made(state_dtype=codecs)
    take(whole_params, whole, range(4))
    params, first = made(state_dtype=codecs)
    take(params, first, range(2))
    others, other = made(state_dtype=codecs)
    with torch.no_grad():
        for new, old in zip(others, params, strict=True):
            new.copy_(old)
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    take(others, other, range(2, 4))
    for ours, expected in zip(others, whole_params, strict=True):
        assert same(ours, expected)
        for name, dtype in dtypes.items():
            assert other.state[ours][name].dtype == dtype
            assert same(other.state[ours][name], whole.state[expected][name])


@pytest.mark.parametrize(("codecs", "most"), [(BOTH, 127), (FOUR, 7)], ids=["8", "4"])
def test_states_of_torch_and_of_blocks_are_loaded_into_each_other(codecs, most):
    dtypes = OF_BLOCKS if codecs is BOTH else OF_BLOCKS | {"exp_avg": torch.uint8}
    params, _ = made()
    theirs = torch.optim.AdamW(params, lr=0.01)
    take(params, theirs, range(2))
    ours, back = st.AdamW(params, lr=0.01, state_dtype=codecs), torch.optim.AdamW(params, lr=0.01)
    ours.load_state_dict(theirs.state_dict())
    plain = st.AdamW(params, lr=0.01)
    plain.load_state_dict(ours.state_dict())
    back.load_state_dict(plain.state_dict())
    for param in params:
        assert {n: ours.state[param][n].dtype for n in dtypes} == dtypes
        expected = theirs.state[param]["exp_avg"]
        largest = expected.abs().max()
        error = (back.state[param]["exp_avg"] - expected).abs().max()
        assert 0 < error <= largest * (1 / most + 1e-6)


def test_codes_of_another_dtype_are_refused():
    params, optimizer = made(state_dtype=BOTH)
    take(params, optimizer, range(1))
    entry = optimizer.state[params[0]]
    entry["exp_avg"] = entry["exp_avg"].to(torch.uint8)
    with pytest.raises(
        TypeError, match=r"exp_avg of .* has dtype torch.uint8; expected torch.int8"
    ):
        take(params, optimizer, range(1, 2))
