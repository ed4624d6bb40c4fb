"""Groups with rules of their own in one optimizer of ``samestep.torch``."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import samestep as ss

torch = pytest.importorskip("torch")
classes = pytest.importorskip("samestep.torch")

BACKENDS = ("torch:foreach", "numba")
# the rule of each group, and what is said of it
GROUPS = (
    {"rule": "muon", "lr": 0.02},
    {},
    {"rule": "sgd", "nesterov": True},
    {"rule": "adagrad", "lr": 0.1},
    {"rule": "asgd", "average": "ema"},
)
KEYWORDS = dict(momentum=0.5, weight_decay=0.1)


def params() -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(4, 3)) for _ in GROUPS]


def grads(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(4, 3, generator=generator) for _ in GROUPS]


def mixed(tensors, backend):
    groups = [{"params": [p], **group} for p, group in zip(tensors, GROUPS, strict=True)]
    return classes.Optimizer("adamw", groups, backend=backend, **KEYWORDS)


def separate(tensors, backend):
    made = []
    for param, group in zip(tensors, GROUPS, strict=True):
        rule = ss.rules.registry[group.get("rule", "adamw")]
        known = {name: v for name, v in KEYWORDS.items() if name in rule.known_hyperparameters}
        own = {name: value for name, value in {**known, **group}.items() if name != "rule"}
        made.append(classes.Optimizer(rule, [param], backend=backend, **own))
    return made


def step(tensors, number, *optimizers):
    for param, grad in zip(tensors, grads(number), strict=True):
        param.grad = grad
    for optimizer in optimizers:
        optimizer.step()


def same(ours, theirs) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bits_are_those_of_an_optimizer_for_each_rule(backend):
    ours, theirs = params(), params()
    together, apart = mixed(ours, backend), separate(theirs, backend)
    for number in range(4):
        step(ours, number, together)
        step(theirs, number, *apart)
        assert same(ours, theirs), number
    for optimizer, param, other in zip(apart, ours, theirs, strict=True):
        entry, expected = together.state[param], optimizer.state[other]
        assert entry.keys() == expected.keys()
        assert all(torch.equal(entry[name], expected[name]) for name in expected)


def test_control_another_rule_has_other_bits():
    ours, theirs = params(), params()
    step(ours, 0, mixed(ours, "torch:foreach"))
    step(theirs, 0, classes.AdamW(theirs, backend="torch:foreach"))
    assert not same(ours, theirs)


def test_each_group_has_the_defaults_of_its_rule_and_the_keywords_that_it_knows():
    optimizer = mixed(params(), None)
    muon, adamw, sgd, adagrad, _ = optimizer.param_groups
    assert [group["rule"] for group in (muon, adamw, sgd)] == ["muon", "adamw", "sgd"]
    assert (muon["lr"], adamw["lr"], sgd["lr"]) == (0.02, 1e-3, 1e-3)
    assert (muon["momentum"], sgd["momentum"]) == (0.5, 0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1] * 5
    assert "betas" not in {*muon, *sgd, *adagrad}
    assert "momentum" not in {*adamw, *optimizer.defaults}


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_goes_on_bit_for_bit(again):
    tensors = params()
    optimizer = mixed(tensors, "torch:foreach")
    step(tensors, 0, optimizer)
    other = again(optimizer)
    copies = [group["params"][0] for group in other.param_groups]
    step(tensors, 1, optimizer)
    step(copies, 1, other)
    assert same(tensors, copies)
    assert [g["rule"] for g in other.param_groups] == [g["rule"] for g in optimizer.param_groups]


def test_state_dicts_go_to_another_optimizer_and_to_arrays_and_back():
    tensors, others = params(), params()
    optimizer, other = mixed(tensors, "torch:foreach"), mixed(others, "numba")
    arrays = [param.detach().numpy().copy() for param in params()]
    groups = [{"params": [a], **group} for a, group in zip(arrays, GROUPS, strict=True)]
    of_arrays = ss.Optimizer("adamw", groups, backend="numpy", **KEYWORDS)
    step(tensors, 0, optimizer)
    for target, source in zip([*others, *arrays], [*tensors, *tensors], strict=True):
        target = target.detach().numpy() if isinstance(target, torch.Tensor) else target
        target[...] = source.detach().numpy()
    other.load_state_dict(optimizer.state_dict())
    of_arrays.load_state_dict(optimizer.state_dict())
    step(tensors, 1, optimizer)
    step(others, 1, other)
    of_arrays.step([[grad.numpy()] for grad in grads(1)])
    assert same(tensors, others)
    assert all(np.array_equal(t.detach(), a) for t, a in zip(tensors, arrays, strict=True))
    other.load_state_dict(of_arrays.state_dict())
    step(tensors, 2, optimizer)
    step(others, 2, other)
    assert same(tensors, others)


def test_a_state_dict_of_other_rules_is_refused():
    optimizer = mixed(params(), None)
    before = optimizer.state_dict()
    wrong = copy.deepcopy(before)
    wrong["param_groups"][0]["rule"] = "normuon"
    with pytest.raises(ValueError, match="group 0 of the state dict is of rule 'normuon'"):
        optimizer.load_state_dict(wrong)
    for k in range(len(GROUPS)):
        assert (
            optimizer.state_dict()["param_groups"][k]["rule"] == before["param_groups"][k]["rule"]
        )
    one_rule = classes.AdamW([{"params": [p]} for p in params()])
    with pytest.raises(ValueError, match="group 0 of the state dict is of rule 'muon'"):
        one_rule.load_state_dict(before)


def test_a_scheduler_of_torch_sets_the_learning_rate_of_every_rule():
    tensors = params()
    optimizer = mixed(tensors, "torch:foreach")
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    step(tensors, 0, optimizer)
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 5e-4, 5e-4, 0.05, 0.005]
    step(tensors, 1, optimizer)


def test_a_group_is_added_later_and_makes_the_others_name_their_rule():
    first, second = params()[:2]
    optimizer = classes.Optimizer("adamw", [first])
    assert "rule" not in optimizer.param_groups[0]
    optimizer.add_param_group({"params": [second], "rule": ss.rules.registry["lion"]})
    assert [group["rule"] for group in optimizer.param_groups] == ["adamw", "lion"]
    assert optimizer.param_groups[1]["betas"] == ss.rules.registry["lion"].defaults["betas"]


def own_rule(name):
    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad):
        return param - s.lr * grad

    return ss.Rule(name, scalars, update, defaults=dict(lr=0.5))


def test_a_rule_of_one_s_own_steps_a_group():
    (first, second) = params()[:2]
    expected = second.detach() - 0.5
    groups = [{"params": [first]}, {"params": [second], "rule": own_rule("mine")}]
    optimizer = classes.Optimizer("adamw", groups)
    for param in (first, second):
        param.grad = torch.ones_like(param)
    optimizer.step()
    assert torch.equal(second, expected)


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        ({"rule": "lionn"}, ValueError, "no rule 'lionn'; did you mean 'lion'"),
        ({"rule": None}, TypeError, "a rule is a samestep.Rule or the name of one, not None"),
        ({"rule": own_rule("adamw")}, ValueError, "called 'adamw', and so is another rule"),
        ({"rule": "lion", "lr": -1.0}, ValueError, "lr"),
    ],
)
def test_a_group_with_a_wrong_rule_is_refused_and_changes_nothing(group, error, message):
    first, second = params()[:2]
    with pytest.raises(error, match=f"group 1: .*{message}"):
        classes.Optimizer("adamw", [{"params": [first]}, {"params": [second], **group}])
    optimizer = classes.Optimizer("adamw", [first])
    before = optimizer.state_dict()
    with pytest.raises(error, match=f"group 1: .*{message}"):
        optimizer.add_param_group({"params": [second], **group})
    assert optimizer.state_dict() == before
    first.grad = torch.ones_like(first)
    optimizer.step()


def test_a_keyword_that_no_rule_has_is_refused():
    groups = [{"params": [p], "rule": r} for p, r in zip(params(), ("lion", "sgd"), strict=False)]
    with pytest.raises(TypeError, match=r"none of the rules adamw, lion, sgd has .* 'nesterovv'"):
        classes.Optimizer("adamw", groups, nesterovv=True)


def test_a_group_s_rule_cannot_be_changed():
    tensors = params()
    optimizer = mixed(tensors, "torch:foreach")
    step(tensors, 0, optimizer)
    before = [param.detach().clone() for param in tensors]
    for name, message in (("sgd", "its rule cannot be changed"), ("nope", "has the rule 'nope'")):
        optimizer.param_groups[1]["rule"] = name
        if name == "nope":
            optimizer.state[tensors[1]]["step"] = torch.zeros(())  # all is looked at anew
        with pytest.raises(ValueError, match=message):
            step(tensors, 1, optimizer)
    assert same(before, tensors)


def test_a_class_of_one_rule_refuses_others():
    first, second = params()[:2]
    groups = [{"params": [first]}, {"params": [second], "rule": "lion"}]
    message = (
        r"group 1: its rule is 'lion'; AdamW of samestep.torch is for adamw only; "
        r"its Optimizer\('adamw'"
    )
    with pytest.raises(TypeError, match=message):
        classes.AdamW(groups)
    optimizer = classes.AdamW([first])
    with pytest.raises(TypeError, match=message):
        optimizer.add_param_group(groups[1])
    assert len(optimizer.param_groups) == 1


def test_modes_of_a_rule_that_evaluates_an_average_leave_the_others_alone():
    first, second = params()[:2]
    groups = [{"params": [first]}, {"params": [second], "rule": "adamw_schedulefree"}]
    optimizer = classes.Optimizer("adamw", groups)
    for _ in range(3):
        for param in (first, second):
            param.grad = torch.ones_like(param)
        optimizer.step()
    before = first.detach().clone(), second.detach().clone()
    optimizer.eval()
    assert torch.equal(first, before[0])
    assert not torch.equal(second, before[1])
    with pytest.raises(RuntimeError, match="averages"):
        optimizer.step()


def test_a_rule_object_may_be_the_optimizer_s_own_or_a_copy_of_one_that_is_there():
    rule, others = ss.rules.registry["adamw"], params()
    optimizer = classes.Optimizer(
        rule, [{"params": [others[0]], "rule": rule}, {"params": [others[1]], "rule": "sgd"}]
    )
    again = copy.deepcopy(optimizer)
    for k, each in enumerate((optimizer, again)):
        each.add_param_group({"params": [others[2 + k]], "rule": rule})
        assert [group["rule"] for group in each.param_groups] == ["adamw", "sgd", "adamw"]


def test_what_is_refused_is_not_written_into_and_parts_are_those_of_its_own_rule():
    others = params()
    optimizer = classes.Optimizer("muon", [others[0]], average="ema")
    group = {"params": [others[1]], "rule": ss.rules.registry["adamw"], "lr": -1.0}
    with pytest.raises(ValueError, match="lr"):
        optimizer.add_param_group(group)
    assert group["rule"] is ss.rules.registry["adamw"]
    with pytest.raises(TypeError, match="average_decay has no effect"):
        optimizer.add_param_group({"params": [others[1]], "rule": "adamw", "average_decay": 0.9})


def test_products_that_a_backend_lacks_are_refused_before_a_step():
    with pytest.raises(ValueError, match="has no such products"):
        classes.Optimizer("muon", params(), ns_dtype="bfloat16", backend="numpy")
    saved = classes.Muon(params(), ns_dtype="bfloat16", backend="torch")
    for param, grad in zip(saved.param_groups[0]["params"], grads(0), strict=True):
        param.grad = grad
    saved.step()
    with pytest.raises(ValueError, match="has no such products"):
        classes.Muon(params(), backend="numba").load_state_dict(saved.state_dict())
