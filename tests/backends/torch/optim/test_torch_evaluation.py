"""`eval` and `train` of the classes for PyTorch: those of `samestep.Optimizer`."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import samestep as ss
import samestep.torch
import torch


def both() -> tuple[ss.Optimizer, torch.nn.Parameter, torch.optim.Optimizer]:
    param = torch.nn.Parameter(torch.linspace(-1, 1, 6).reshape(2, 3))
    ours = ss.AdamWScheduleFree([param.detach().numpy().copy()], lr=0.1, backend="numpy")
    return ours, param, samestep.torch.AdamWScheduleFree([param], lr=0.1)


def step(ours: ss.Optimizer, param: torch.nn.Parameter, theirs: torch.optim.Optimizer) -> None:
    param.grad = torch.full((2, 3), 0.5)
    theirs.step()
    ours.step([np.full((2, 3), 0.5, np.float32)])


def test_the_modes_are_those_of_arrays_and_state_dicts_keep_them():
    ours, param, theirs = both()
    theirs.eval()
    theirs.train()
    for _ in range(3):
        step(ours, param, theirs)
    array = ours.param_groups[0]["params"][0]
    before, version = array.copy(), param._version
    for each in (ours, theirs):
        each.eval()
    assert (array != before).all()
    assert param.detach().numpy().tolist() == array.tolist()
    assert param._version > version  # autograd is told
    with pytest.raises(RuntimeError, match=r"opt\.train\(\)"):
        theirs.step()
    for state in (theirs.state_dict(), ours.state_dict()):
        other = samestep.torch.AdamWScheduleFree([copy.deepcopy(param)], lr=0.1)
        other.load_state_dict(state)
        with pytest.raises(RuntimeError, match=r"opt\.train\(\)"):
            other.step()
    again = ss.AdamWScheduleFree([array.copy()], lr=0.1, backend="numpy")
    again.load_state_dict(theirs.state_dict())
    for each in (ours, theirs, again):
        each.train()
    step(ours, param, theirs)
    again.step([np.full((2, 3), 0.5, np.float32)])
    assert param.detach().numpy().tolist() == array.tolist()
    assert again.param_groups[0]["params"][0].tolist() == array.tolist()


def test_other_rules_have_no_modes():
    """The Trainer of Hugging Face calls `train` before every step, where there is one."""
    param = torch.ones(3, requires_grad=True)
    optimizer = samestep.torch.AdamW([param])
    param.grad = torch.ones(3)
    optimizer.eval()
    optimizer.step()
    optimizer.train()
    assert (param != 1).all()
