"""Parameters that have no gradient yet: frozen ones of any dtype and kind, and those of lazy
modules."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import samestep as ss
import samestep.torch as ours
import torch
from samestep.golden.compare import assert_same_bits
from torch_networks import assert_same_parameters, loss_of, network, train, trained

FROZEN = {
    "int8": lambda: torch.ones(3, dtype=torch.int8),
    "uint8": lambda: torch.ones(3, dtype=torch.uint8),
    "bool": lambda: torch.ones(3, dtype=torch.bool),
    "float8": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "sparse": lambda: torch.ones(3, 4).to_sparse(),
    "on meta": lambda: torch.ones(3, device="meta"),
    "without memory of its own": lambda: torch.ones(1).expand(3),
}


def frozen_first(kind, **options):
    """A model with such a parameter in front, and its optimizer."""
    model = network()
    param = torch.nn.Parameter(FROZEN[kind](), requires_grad=False)
    params = [param, *model.parameters()]
    return model, param, ours.AdamW(params, lr=0.01, **options)


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions")
@pytest.mark.parametrize("kind", FROZEN)
@pytest.mark.parametrize("backend", [None, "numpy", "torch:foreach"])
def test_frozen_parameters_of_any_kind_are_left_alone(kind, backend):
    model, param, optimizer = frozen_first(kind, backend=backend)
    train(model, optimizer)
    assert_same_parameters(model, trained()[0])
    assert param not in optimizer.state
    other, _, loaded = frozen_first(kind, backend=backend)
    other.load_state_dict(model.state_dict())
    loaded.load_state_dict(optimizer.state_dict())
    train(model, optimizer, 5, 7)
    train(other, loaded, 5, 7)
    assert_same_parameters(model, other)


@pytest.mark.parametrize("kind", ["int8", "float8", "without memory of its own"])
@pytest.mark.parametrize("late", [0, 2])
def test_one_that_gets_a_gradient_is_an_error_that_changes_nothing(kind, late):
    model, param, optimizer = frozen_first(kind)
    train(model, optimizer, 0, late)
    before, steps = copy.deepcopy(model), {p: float(e["step"]) for p, e in optimizer.state.items()}
    optimizer.zero_grad()
    loss_of(model, late).backward()
    param.grad = torch.ones(3).to(param.dtype)
    with pytest.raises((TypeError, ValueError), match=r"params\[0\] (has dtype|overlaps itself)"):
        optimizer.step()
    assert_same_parameters(model, before)
    assert steps == {p: float(e["step"]) for p, e in optimizer.state.items()}
    param.grad = None
    train(model, optimizer, late, 5)
    assert_same_parameters(model, trained()[0])


def test_a_group_of_frozen_parameters_may_be_added_and_thawed():
    """The thawed one takes its first step when it first has a gradient."""
    model, optimizer = trained(last=1)
    extra = torch.nn.Parameter(torch.ones(3), requires_grad=False)
    alone = torch.nn.Parameter(torch.ones(3))
    optimizer.add_param_group({"params": [extra], "lr": 0.5})
    train(model, optimizer, 1, 3)
    extra.requires_grad_()
    reference = ours.AdamW([alone], lr=0.5)
    for _ in range(2):
        extra.grad, alone.grad = torch.ones(3), torch.ones(3)
        optimizer.step()
        reference.step()
    assert_same_bits(extra.detach().numpy(), alone.detach().numpy())
    assert [float(optimizer.state[p]["step"]) for p in (model[0].weight, extra)] == [5, 2]


def test_control_a_tensor_that_is_no_module_s_parameter_is_meant_to_be_stepped():
    with pytest.raises(TypeError, match=r"params\[0\] has dtype int8"):
        ours.AdamW([torch.ones(3, dtype=torch.int8)])
    with pytest.raises(TypeError, match=r"params\[0\] has dtype float8_e4m3fn"):
        ours.AdamW([torch.nn.Parameter(torch.ones(3).to(torch.float8_e4m3fn))])


# ---- lazy modules


def lazy_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.LazyLinear(5), torch.nn.Tanh(), torch.nn.Linear(5, 2))


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize("name", ["AdamW", "Adagrad", "Adafactor"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pair])
def test_a_lazy_module_s_parameters_are_adopted_after_its_first_forward(name, copied):
    model = lazy_network()
    model, optimizer = copied((model, getattr(ours, name)(model.parameters(), lr=0.01)))
    optimizer.step()
    optimizer.zero_grad()
    model(torch.ones(1, 4))  # it has a shape from now on
    reference = copy.deepcopy(model)
    train(model, optimizer)
    train(reference, getattr(ours, name)(reference.parameters(), lr=0.01))
    assert_same_parameters(model, reference)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_what_needs_a_shape_says_how_to_get_one():
    done = lazy_network()
    optimizer = ours.AdamW(done.parameters())
    done(torch.ones(1, 4))
    train(done, optimizer, 0, 1)
    model = lazy_network()
    waiting = ours.AdamW(model.named_parameters())
    with pytest.raises(ValueError, match=r"0\.weight has no shape yet: .*run the model once"):
        waiting.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"\[0\] has no shape yet: .*run the model once"):
        ss.AdamW(model.parameters())
    model.load_state_dict(done.state_dict())
    waiting.load_state_dict(optimizer.state_dict())
    for module, own in ((done, optimizer), (model, waiting)):
        train(module, own, 1, 3)
    assert_same_parameters(model, done)
    assert np.isfinite(done[0].weight.detach().numpy()).all()
