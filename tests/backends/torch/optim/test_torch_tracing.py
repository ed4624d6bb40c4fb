"""A step is refused where PyTorch only records operations: it would be lost, or done once for
all."""

from __future__ import annotations

import pytest
import samestep as ss
import samestep.torch as ours
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode
from torch_networks import assert_same_parameters, network, train, trained

HOST = ["numpy", "numba", "torch", "torch:foreach"]
ONES = torch.ones(3)


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


def in_fake_mode(step):
    with FakeTensorMode():
        step(None)


TRACERS = {
    "make_fx": lambda step: make_fx(step)(ONES),
    "make_fx, fake": lambda step: make_fx(step, tracing_mode="fake")(ONES),
    "make_fx, symbolic": lambda step: make_fx(step, tracing_mode="symbolic")(ONES),
    "make_fx, before dispatch": lambda step: make_fx(step, pre_dispatch=True)(ONES),
    "FakeTensorMode": in_fake_mode,
    "export": lambda step: torch.export.export(Module(step), (ONES,), strict=False),
    "functionalize": lambda step: torch.func.functionalize(step)(ONES),
    "vmap": lambda step: torch.vmap(step)(ONES),
    "grad": lambda step: torch.func.grad(step)(torch.tensor(1.0)),
}


def state_of(optimizer):
    return [
        {name: value.clone() for name, value in entry.items()} for entry in optimizer.state.values()
    ]


@pytest.mark.parametrize("trace", TRACERS)
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("closed", [True, False])
def test_a_traced_step_is_an_error_that_changes_nothing(trace, steps, closed):
    model, optimizer = trained(last=steps)
    optimizer.zero_grad()
    for param in model.parameters():
        param.grad = torch.ones_like(param)
    before, state = [p.detach().clone() for p in model.parameters()], state_of(optimizer)
    called = []

    def step(x):
        optimizer.step(*[lambda: called.append(x)] * closed)
        return x * 1

    with pytest.raises(
        RuntimeError, match=r"a step cannot be traced \(.*outside of what is traced"
    ):
        TRACERS[trace](step)
    assert not called
    assert all(map(torch.equal, before, model.parameters()))
    for entry, now in zip(state, state_of(optimizer), strict=True):
        assert all(torch.equal(entry[name], now[name]) for name in entry)
    train(model, optimizer, steps, 5)
    assert_same_parameters(model, trained()[0])


@pytest.mark.parametrize("backend", HOST)
@pytest.mark.parametrize("trace", ["make_fx", "FakeTensorMode", "export", "vmap"])
def test_an_optimizer_of_tensors_refuses_as_well(trace, backend):
    param, grad = torch.ones(3), torch.ones(3)
    optimizer = ss.AdamW([param], backend=backend)
    with pytest.raises(RuntimeError, match="a step cannot be traced"):
        TRACERS[trace](lambda x: (optimizer.step([grad]), x * 1)[1])
    assert torch.equal(param, torch.ones(3))
    optimizer.step([grad])
    assert not torch.equal(param, torch.ones(3))


def test_other_work_is_refused_as_well():
    model, optimizer = trained(last=1)
    snapshot = optimizer.state_dict()
    with FakeTensorMode():
        fake = torch.nn.Parameter(torch.ones(3))
        for work in (
            lambda: optimizer.load_state_dict(snapshot),
            lambda: optimizer.add_param_group({"params": [torch.nn.Parameter(fake)]}),
            lambda: ours.Adagrad(model.parameters()),
        ):
            with pytest.raises(RuntimeError, match="cannot be traced"):
                work()
    with pytest.raises(TypeError, match=r"params\[0\] is a fake tensor and has no elements"):
        ours.AdamW([fake])
    train(model, optimizer, 1, 5)
    assert_same_parameters(model, trained()[0])


def with_averages(optimizer):
    with optimizer.averages():
        pass


DOORS = {
    "averaged": (ours.AdamW, dict(average="ema"), lambda optimizer: optimizer.averaged()),
    "averages": (ours.AdamW, dict(average=2), with_averages),
    "eval": (ours.AdamWScheduleFree, {}, lambda optimizer: optimizer.eval()),
    "update_hessian": (ours.Sophia, {}, lambda optimizer: optimizer.update_hessian([ONES])),
}


def of_one(cls, **hyper):
    """A parameter after a step, and its optimizer."""
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = cls([param], **hyper)
    param.grad = torch.ones(3)
    optimizer.step()
    return param, optimizer


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("trace", ["make_fx", "FakeTensorMode", "export", "vmap"])
def test_averages_and_estimates_are_refused_as_well(trace, door):
    cls, hyper, work = DOORS[door]
    param, optimizer = of_one(cls, **hyper)
    before, state = param.detach().clone(), state_of(optimizer)
    with pytest.raises(RuntimeError, match=r"\(\) cannot be traced \(.*outside of what is traced"):
        TRACERS[trace](lambda x: (work(optimizer), x)[1])
    assert torch.equal(param, before)
    for name, value in state_of(optimizer)[0].items():
        assert torch.equal(value, state[0][name])


@pytest.mark.parametrize("door", DOORS)
def test_what_is_compiled_calls_them_between_two_graphs(door):
    cls, hyper, work = DOORS[door]
    (param, compiled), (other, plain) = of_one(cls, **hyper), of_one(cls, **hyper)
    result = torch.compile(lambda x: (work(compiled), 2 * x)[1], backend="eager")(ONES)
    work(plain)
    assert torch.equal(result, 2 * ONES)
    assert torch.equal(param, other)
    for ours_now, expected in zip(state_of(compiled), state_of(plain), strict=True):
        assert all(torch.equal(ours_now[name], expected[name]) for name in expected)


def test_a_whole_graph_is_refused_with_the_reason():
    model, optimizer = trained(last=1)
    before = trained(last=1)[0]
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"disable"):
        torch.compile(optimizer.step, backend="eager", fullgraph=True)()
    assert_same_parameters(model, before)


def test_control_modes_that_only_look_on_are_no_error():
    model = network()
    optimizer = ours.AdamW(model.parameters(), lr=0.01)
    with FlopCounterMode(display=False):
        train(model, optimizer)
    assert_same_parameters(model, trained()[0])
