"""Our torch classes where a torch.optim.Optimizer can stand: arguments, implementations, groups,
and torch's schedulers."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import samestep as ss
import samestep.torch as ours
import torch
from samestep.optimizers.classes import CLASS_NAMES
from torch_networks import assert_close_parameters, assert_same_parameters, network, train, trained

IMPLEMENTATIONS = [dict(foreach=False), dict(foreach=True), dict(fused=True), {}]

# ---- the classes


@pytest.mark.parametrize("name", CLASS_NAMES.values())
def test_there_is_a_class_for_every_rule_and_it_steps(name):
    param = torch.linspace(-1, 1, 6).reshape(2, 3).requires_grad_()
    optimizer = getattr(ours, name)([param])
    assert isinstance(optimizer, torch.optim.Optimizer)
    before = param.detach().clone()
    for _ in range(6):  # the first step of some only begins a second moment, or has the size 0
        param.grad = torch.ones(2, 3)
        optimizer.step()
    assert not torch.equal(param, before)
    assert type(pickle.loads(pickle.dumps(optimizer))) is getattr(ours, name)


@pytest.mark.parametrize("name", [n for n in CLASS_NAMES.values() if hasattr(torch.optim, n)])
def test_arguments_have_torch_s_order_and_defaults(name):
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    mine = inspect.signature(getattr(ours, name)).parameters
    flags = {"capturable", "foreach", "fused", "differentiable", "maximize"}  # differ among theirs
    by_position = [p.name for p in theirs.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    # our Muon's match_rms_adamw says what torch's adjust_lr_fn does
    ordered = [n for n in by_position if n not in flags | {"adjust_lr_fn"}]
    assert list(mine)[: len(ordered)] == ordered
    # Adam with decoupled_weight_decay is AdamW; torch's Adafactor is another algorithm
    other = {("Adam", "decoupled_weight_decay"), ("Adafactor", "eps"), ("Muon", "adjust_lr_fn")}
    for argument, parameter in theirs.items():
        if (name, argument) not in other:
            assert mine[argument].default == parameter.default


def test_a_rule_of_one_s_own():
    def update(xp, s, param, grad, total):
        total = total + xp.abs(grad)
        return param - s.lr * grad / (1 + total), total

    rule = ss.Rule("own", lambda xp, step, carry, h: (dict(lr=h.lr), carry), update, dict(lr=0.1))
    param = torch.ones(3, requires_grad=True)
    optimizer = ours.Optimizer(rule, [param], lr=0.5)
    param.grad = torch.tensor([1.0, 2.0, 3.0])
    optimizer.step()
    torch.testing.assert_close(param.detach(), 1 - 0.5 * param.grad / (1 + param.grad))


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's, of its own
@pytest.mark.parametrize("chosen", [*IMPLEMENTATIONS, dict(backend="torch:compiled")], ids=str)
def test_every_implementation_has_the_bits_of_numpy(chosen):
    model, optimizer = trained(**chosen)
    reference, _ = trained(backend="numpy")
    assert_same_parameters(model, reference)
    names = {"foreach": "foreach" if chosen.get("foreach") else "forloop", "fused": "fused"}
    for flag in chosen.keys() & names.keys():
        assert optimizer.backend.name == f"torch:{names[flag]}"


def test_a_choice_of_backend():
    param = torch.ones(1, requires_grad=True)
    with ss.use_backend("numpy"):
        optimizer = ours.SGD([param])
    assert optimizer.backend.name == "numpy"
    assert copy.deepcopy(optimizer).backend.name == "numpy"
    for options in (dict(foreach=True, fused=True), dict(backend="numpy", foreach=True)):
        with pytest.raises(RuntimeError, match=r"`fused` and `foreach`|both choose"):
            ours.SGD([param], **options)
    for flag in ("capturable", "differentiable"):
        with pytest.raises(ValueError, match=f"{flag}=True is not supported"):
            ours.SGD([param], **{flag: True})
        ours.SGD([param], **{flag: False})
    with pytest.raises(ValueError, match="no such implementation"):
        ours.SGD([param], backend="torch:magic")


@pytest.mark.parametrize("copied", [copy.copy, lambda o: pickle.loads(pickle.dumps(o))])
@pytest.mark.parametrize("options", IMPLEMENTATIONS)
def test_the_first_parameters_choose_the_backend_not_a_group_without_any(options, copied):
    param = torch.nn.Parameter(torch.ones(3))
    expected = ours.SGD([param], **options).backend.name
    optimizer = copied(ours.SGD([{"params": []}], **options))
    optimizer.step()
    optimizer.add_param_group({"params": [param]})
    assert optimizer.backend.name == expected
    param.grad = torch.ones(3)
    optimizer.step()
    assert optimizer.state[param]["step"] == 1


# ---- groups, names, hyperparameters


def test_named_parameters_are_named_in_state_dicts_and_messages():
    model = network()
    optimizer = ours.AdamW(model.named_parameters())
    names = [name for name, _ in model.named_parameters()]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == names
    train(model, optimizer)
    other = ours.AdamW(network().named_parameters())
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["param_names"] == names
    broken = copy.deepcopy(optimizer.state_dict())
    broken["state"][2]["exp_avg"] = torch.ones(2)
    with pytest.raises(ValueError, match=r"2\.weight"):
        other.load_state_dict(broken)


def test_groups_have_hyperparameters_of_their_own():
    models = network(torch.float64), network(torch.float64)
    optimizers = []
    for module, model in zip((ours, torch.optim), models, strict=True):
        groups = [
            {"params": model[0].parameters(), "lr": 0.1, "name": "first"},
            {"params": model[2].weight, "weight_decay": 0.3},
        ]
        optimizers.append(module.AdamW(groups, lr=0.01))
        train(model, optimizers[-1])
        optimizers[-1].add_param_group({"params": [model[2].bias], "betas": (0.5, 0.6)})
        train(model, optimizers[-1], 5, 10)
    assert_close_parameters(*models)
    assert optimizers[0].param_groups[0]["name"] == "first"
    assert [float(optimizers[0].state[p]["step"]) for p in models[0][2].parameters()] == [10, 5]


def test_a_group_with_an_error_is_not_added():
    model, optimizer = trained(last=1)
    extra = torch.ones(2, requires_grad=True)
    for group, error in (
        ({"params": [extra], "lr": -1.0}, ValueError),
        ({"params": [torch.ones(2, dtype=torch.int64)]}, TypeError),
        ({"params": [model[0].weight]}, ValueError),
        ({"params": [extra.detach()[:1], extra.detach()]}, ValueError),
    ):
        with pytest.raises(error):
            optimizer.add_param_group(group)
        assert len(optimizer.param_groups) == 1
    train(model, optimizer, 1, 5)
    assert_same_parameters(model, trained()[0])


def test_tensors_as_hyperparameters_may_change_in_place():
    lr = torch.tensor(0.01, dtype=torch.float64)
    model = network()
    optimizer = ours.AdamW(model.parameters(), lr=lr, betas=(torch.tensor([0.9]), 0.999))
    reference = network()
    plain = ours.AdamW(reference.parameters(), lr=0.01, betas=(float(torch.tensor(0.9)), 0.999))
    train(model, optimizer)
    train(reference, plain)
    lr.fill_(0.5)
    plain.param_groups[0]["lr"] = 0.5
    train(model, optimizer, 5, 8)
    train(reference, plain, 5, 8)
    assert_same_parameters(model, reference)
    assert optimizer.param_groups[0]["lr"] is lr
    betas = optimizer.param_groups[0]["betas"] = [0.9, 0.999]
    train(model, optimizer, 8, 9)
    betas[0] = 0.5
    train(model, optimizer, 9, 11)
    plain.param_groups[0]["betas"] = (0.9, 0.999)
    train(reference, plain, 8, 9)
    plain.param_groups[0]["betas"] = (0.5, 0.999)
    train(reference, plain, 9, 11)
    assert_same_parameters(model, reference)


SCHEDULERS = {
    "one cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=12),
    "cyclic momentum": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "warm restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    "warm-up, then decay": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o,
        [
            torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=4),
            torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
        ],
        milestones=[4],
    ),
}


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")
@pytest.mark.parametrize("name", ["SGD", "Adam", "Rprop"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_torch_s_schedulers(scheduler, name):
    if (scheduler, name) in {("one cycle", "Rprop"), ("cyclic momentum", "Rprop")}:
        return  # nothing there to cycle
    options = dict(momentum=0.9) if name == "SGD" else {}
    models = network(torch.float64), network(torch.float64)
    for module, model in zip((ours, torch.optim), models, strict=True):
        optimizer = getattr(module, name)(model.parameters(), lr=0.01, **options)
        schedule = SCHEDULERS[scheduler](optimizer)
        for step in range(10):
            train(model, optimizer, step, step + 1)
            schedule.step()
    assert_close_parameters(*models)


def test_reduce_on_plateau():
    models = network(torch.float64), network(torch.float64)
    for module, model in zip((ours, torch.optim), models, strict=True):
        optimizer = module.SGD(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        for step in range(6):
            train(model, optimizer, step, step + 1)
            schedule.step(1.0 + step)
        assert optimizer.param_groups[0]["lr"] < 1e-4
    assert_close_parameters(*models)
