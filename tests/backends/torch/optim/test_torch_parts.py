"""Masters, Kahan sums and averages in PyTorch's classes."""

from __future__ import annotations

import copy
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import samestep as ss
import samestep.torch as st
import torch
from samestep.golden.compare import first_difference
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

IMPLEMENTATIONS = [dict(foreach=False), dict(foreach=True), dict(fused=True)]
KINDS = [
    dict(master="float32"),
    dict(master="split"),
    dict(compensated=True),
    dict(master="float32", average="ema", average_decay=0.5),
    dict(average=2, average_every=2),
    dict(master="split", average=3),
]


def made(dtype=torch.bfloat16, **hyper) -> tuple[list[torch.nn.Parameter], st.Optimizer]:
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(shape, generator=generator) for shape in ((40, 3), (5,))]
    params = [torch.nn.Parameter(tensor.to(dtype)) for tensor in tensors]
    return params, st.AdamW(params, lr=1e-3, **hyper)


def take(params: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for number in steps:
        generator = torch.Generator().manual_seed(number)
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)
        optimizer.step()


def bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().numpy()


@pytest.mark.parametrize("how", IMPLEMENTATIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_bits_are_those_of_the_reference(kind, how):
    params, optimizer = made(**kind, **how)
    start = [param.detach().clone() for param in params]
    reference = ss.AdamW(start, lr=1e-3, backend="numpy", **kind)
    for number in range(4):
        take(params, optimizer, range(number, number + 1))
        reference.step([param.grad for param in params])
    for param, expected, state in zip(params, start, reference.state, strict=True):
        assert first_difference(bits(param), bits(expected)) is None
        for name, array in state.items():
            assert optimizer.state[param][name].dtype == array.dtype
            assert first_difference(bits(optimizer.state[param][name]), bits(array)) is None
    if "average" in kind:
        for ours, expected in zip(optimizer.averaged()[0], reference.averaged(), strict=True):
            assert first_difference(bits(ours), bits(expected)) is None


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_resumed_run_is_the_uninterrupted_one(kind):
    whole_params, whole = made(**kind)
    take(whole_params, whole, range(4))
    params, first = made(**kind)
    take(params, first, range(2))
    others, other = made(**kind)
    with torch.no_grad():
        for new, old in zip(others, params, strict=True):
            new.copy_(old)
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    take(others, other, range(2, 4))
    for ours, expected in zip(others, whole_params, strict=True):
        assert torch.equal(ours, expected)
        assert other.state[ours].keys() == whole.state[expected].keys()
        for name, value in other.state[ours].items():
            assert torch.equal(value, whole.state[expected][name]), name


@pytest.mark.parametrize("kind", ["ema", "mean"])
def test_the_average_is_that_of_averaged_model(kind):
    """PyTorch's own, after a step of its own: to rounding, which is in another order there."""
    module = torch.nn.Linear(7, 5)
    decay = dict(average_decay=0.8) if kind == "ema" else {}
    optimizer = st.AdamW(module.parameters(), lr=0.01, average=kind, **decay)
    theirs = AveragedModel(
        module, multi_avg_fn=get_ema_multi_avg_fn(0.8) if kind == "ema" else None
    )
    params = list(module.parameters())
    for number in range(6):
        take(params, optimizer, range(number, number + 1))
        theirs.update_parameters(module)
    (found,) = optimizer.averaged()
    for ours, expected in zip(found, theirs.module.parameters(), strict=True):
        torch.testing.assert_close(ours, expected.detach(), rtol=1e-5, atol=1e-7)


def test_state_of_torch_is_loaded_and_parts_begin():
    params, _ = made(torch.float32)
    theirs = torch.optim.AdamW(params, lr=1e-3)
    take(params, theirs, range(2))
    ours = st.AdamW(params, lr=1e-3, average="mean")
    ours.load_state_dict(theirs.state_dict())
    take(params, ours, range(2, 3))
    for param, average in zip(params, ours.averaged()[0], strict=True):
        assert torch.equal(param, average)
        assert float(ours.state[param]["step"]) == 3


def test_what_nothing_reads_is_refused():
    param, other = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    expected = "average_decay has no effect without average='ema'"
    with pytest.raises(TypeError, match=f"^{expected}"):
        st.AdamW([param], average_decay=0.5)
    with pytest.raises(TypeError, match=f"^{expected}"):
        st.AdamW([param], average="mean", average_decay=0.5)
    optimizer = st.AdamW(iter([param]))
    with pytest.raises(TypeError, match=f"^group 1: {expected}"):
        optimizer.add_param_group({"params": [other], "average_decay": 0.5})
    optimizer.add_param_group({**optimizer.param_groups[0], "params": [other]})
    st.AdamW([{"params": [param]}, {"params": [other], "average": "ema"}], average_decay=0.5)
    for entry, expected in (
        (
            dict(frozen=True),
            "nothing reads 'frozen' here, which samestep.Optimizer does; requires_grad_",
        ),
        (
            dict(weight_decay_mask=[False]),
            "nothing reads 'weight_decay_mask' .* with weight_decay=0",
        ),
        (dict(clip_global_norm=1.0), "clip_global_norm is no entry of a group"),
    ):
        with pytest.raises(TypeError, match=f"^group 0: {expected}"):
            st.AdamW([{"params": [param], **entry}])
    st.AdamW([{"params": [param], "frozen": False, "weight_decay_mask": None, "initial_lr": 0.1}])


def test_a_group_without_parameters_is_named():
    _, optimizer = made()
    del optimizer.param_groups[0]["params"]
    with pytest.raises(ValueError, match="has lost its entry 'params'; put it back"):
        optimizer.step()


@pytest.mark.parametrize("average", ["ema", 2])
def test_averages_are_swapped_in_and_back(average):
    params, optimizer = made(average=average, master="float32")
    assert torch.equal(optimizer.averaged()[0][0], params[0].float())
    take(params, optimizer, range(3))
    own = [param.detach().clone() for param in params]
    (averages,) = optimizer.averaged()
    with optimizer.averages():
        assert torch.equal(params[0], averages[0].bfloat16())
        own_are_away = pytest.raises(RuntimeError, match=r"leave `with opt\.averages")
        for forbidden in (optimizer.step, optimizer.__getstate__, optimizer.averages().__enter__):
            with own_are_away:
                forbidden()
    assert all(map(torch.equal, params, own))
    take(params, optimizer, range(3, 4))
    with pytest.raises(ValueError, match="keeps no averages"):
        made()[1].averaged()


def test_modes_are_not_changed_while_averages_are_in_the_places_of_the_parameters():
    params = made(torch.float32)[0]
    optimizer = st.AdamWScheduleFree(params, average="mean")
    take(params, optimizer, range(3))
    own = [param.detach().clone() for param in params]
    with optimizer.averages(), pytest.raises(RuntimeError, match="leave `with opt"):
        optimizer.eval()
    assert all(map(torch.equal, params, own))
    take(params, optimizer, range(3, 4))


def test_another_thread_swaps_no_averages_in_and_adds_no_group():
    """What is written back would be the averages of the one who came first."""
    params, optimizer = made(average="ema")
    take(params, optimizer, range(2))

    def use(work):
        with pytest.raises(RuntimeError, match="used by another thread"):
            work()

    group = {"params": [torch.nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))]}
    with ThreadPoolExecutor(1) as other, optimizer._alone:
        other.submit(use, optimizer.averages().__enter__).result()
        other.submit(use, optimizer.averaged).result()
        other.submit(use, lambda: optimizer.add_param_group(group)).result()
    assert len(optimizer.param_groups) == 1
    with optimizer.averages():
        for work in (
            lambda: optimizer.add_param_group(group),
            lambda: optimizer.load_state_dict({}),
        ):
            with pytest.raises(RuntimeError, match=r"leave `with opt\.averages"):
                work()
    optimizer.add_param_group(group)


@pytest.mark.parametrize("average", ["ema", 2])
@pytest.mark.parametrize("other", [st.AdamW, torch.optim.AdamW])
def test_the_average_is_the_parameter_until_a_step_counts(other, average):
    params, optimizer = made(average=average)
    plain = other(params, lr=1e-3)
    take(params, plain, range(2))
    optimizer.load_state_dict(plain.state_dict())  # which has no averages
    for param, average in zip(params, optimizer.averaged()[0], strict=True):
        assert torch.equal(param.float(), average)


def test_an_interrupt_while_averages_are_swapped_in_puts_all_back(monkeypatch):
    params, optimizer = made(average="mean")
    take(params, optimizer, range(3))
    own, copy = [param.detach().clone() for param in params], torch.Tensor.copy_

    def interrupted(*args):
        copy(*args)
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(torch.Tensor, "copy_", interrupted)
    with pytest.raises(KeyboardInterrupt), optimizer.averages():
        pytest.fail("evaluated with averages")
    assert all(map(torch.equal, params, own))
    take(params, optimizer, range(3, 4))


def test_parameters_that_lose_nothing_are_refused_before_the_group_is_added():
    with pytest.raises(TypeError, match="master='float32' is for parameters of bfloat16"):
        made(torch.float32, master="float32")
    _, optimizer = made(master="float32")
    single = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(TypeError, match="compensated=True"):
        optimizer.add_param_group({"params": [single], "master": None, "compensated": True})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [single], "master": None})
