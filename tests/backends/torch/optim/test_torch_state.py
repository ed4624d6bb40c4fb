"""The state of our torch classes belongs to the user as well: it is live, it may be written to, and
it is copied with the optimizer."""

from __future__ import annotations

import copy
import pickle

import pytest
import samestep.torch as ours
import torch
from torch_networks import assert_same_parameters, network, train, trained


def test_state_is_live():
    """The same tensors at every step, in place, and those that the next step reads."""
    model, optimizer = trained(last=2)
    weight = model[0].weight
    held = dict(optimizer.state[weight])
    before = held["exp_avg"].clone()
    train(model, optimizer, 2, 5)
    assert all(optimizer.state[weight][name] is tensor for name, tensor in held.items())
    assert not torch.equal(held["exp_avg"], before)
    assert float(held["step"]) == 5
    held["exp_avg"].zero_()
    held["exp_avg_sq"].fill_(torch.inf)
    moved = weight.detach().clone()
    optimizer.param_groups[0]["weight_decay"] = 0.0
    train(model, optimizer, 5, 6)
    assert torch.equal(weight, moved)


def replaced(optimizer, param):
    entry = optimizer.state[param]
    optimizer.state[param] = {name: value.clone() for name, value in entry.items()}


def replaced_in_place(optimizer, param):
    entry = optimizer.state[param]
    entry["exp_avg"] = entry["exp_avg"].clone()
    entry["step"] = float(entry["step"])


def other_memory(optimizer, param):
    for tensor in (param, optimizer.state[param]["exp_avg"]):
        tensor.data = tensor.data.clone()


def transposed(optimizer, param):
    entry = optimizer.state[param]
    entry["exp_avg"] = entry["exp_avg"].T.contiguous().T


def wider(optimizer, param):
    entry = optimizer.state[param]
    entry["exp_avg"] = entry["exp_avg"].double()


def with_more(optimizer, param):
    optimizer.state[param]["slow_buffer"] = "of somebody else"
    optimizer.state["not a parameter"] = 1


@pytest.mark.parametrize(
    "write", [replaced, replaced_in_place, other_memory, transposed, wider, with_more]
)
def test_state_may_be_written_to(write):
    """Equal values in other objects or other memory: the next steps are the same."""
    model, optimizer = trained(last=2)
    write(optimizer, model[0].weight)
    train(model, optimizer, 2, 5)
    assert_same_parameters(model, trained()[0])
    assert float(optimizer.state[model[0].weight]["step"]) == 5
    assert optimizer.state[model[0].weight]["exp_avg"].abs().sum() > 0


def test_others_may_keep_things_in_the_state_from_the_start():
    model = network()
    optimizer = ours.AdamW(model.parameters(), lr=0.01)
    optimizer.state[model[0].weight]["slow_buffer"] = slow = model[0].weight.detach().clone()
    train(model, optimizer)
    assert_same_parameters(model, trained()[0])
    assert optimizer.state[model[0].weight]["slow_buffer"] is slow


def saved_and_loaded(model, optimizer, tmp_path):
    torch.save((model.state_dict(), optimizer.state_dict()), tmp_path / "saved.pt")
    weights, snapshot = torch.load(tmp_path / "saved.pt")
    other = network()
    other.load_state_dict(weights)
    loaded = type(optimizer)(other.parameters(), lr=0.01)
    loaded.load_state_dict(snapshot)
    return other, loaded


GOES_ON = {
    "state dict": saved_and_loaded,
    "deepcopy": lambda model, optimizer, _: copy.deepcopy((model, optimizer)),
    "pickle": lambda model, optimizer, _: pickle.loads(pickle.dumps((model, optimizer))),
}


@pytest.mark.parametrize("name", ["AdamW", "SGD", "NAdam", "ASGD", "Adagrad"])
@pytest.mark.parametrize("goes_on", GOES_ON)
@pytest.mark.parametrize("when", [0, 2])
def test_what_others_keep_in_the_state_is_saved_and_loaded(name, goes_on, when, tmp_path):
    """As wrappers do, Lookahead's slow weights for one: also of parameters that have not
    stepped."""
    model, optimizer = trained(getattr(ours, name), last=when)
    first, *_, last = model.parameters()
    optimizer.state[first]["slow"] = first.detach() + 1
    optimizer.state[first]["kept"] = {"at": [torch.ones(2), 7], "text": "of somebody else"}
    optimizer.state[last]["both"] = optimizer.state[first]["slow"].view(-1)
    optimizer.state["of all"] = {"count": 5}
    other, loaded = GOES_ON[goes_on](model, optimizer, tmp_path)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert optimizer.state[a].keys() == loaded.state[b].keys()
    entry = loaded.state[next(other.parameters())]
    assert torch.equal(entry["slow"], first.detach() + 1)
    assert entry["slow"].data_ptr() != optimizer.state[first]["slow"].data_ptr()
    assert torch.equal(entry["kept"]["at"][0], torch.ones(2))
    assert (entry["kept"]["at"][1], entry["kept"]["text"]) == (7, "of somebody else")
    assert loaded.state["of all"] == {"count": 5}
    if goes_on == "deepcopy":  # as of tensors elsewhere, what shares memory does so afterwards
        shared = loaded.state[list(other.parameters())[-1]]["both"]
        assert shared.data_ptr() == entry["slow"].data_ptr()
    train(model, optimizer, when, 4)
    train(other, loaded, when, 4)
    assert_same_parameters(model, other)


@pytest.mark.parametrize("name", ["master", "average", "average_0", "z", "momentum_buffer"])
def test_what_others_keep_may_have_a_name_that_is_another_rule_s(name):
    """An optimizer loads the state dict that it has saved, whatever a wrapper has put there."""
    model, optimizer = trained(last=2)
    for param in model.parameters():
        optimizer.state[param][name] = param.detach() + 1
    other_model, other = trained(last=1)
    other.load_state_dict(optimizer.state_dict())
    for param, ours_now in zip(model.parameters(), other_model.parameters(), strict=True):
        assert torch.equal(other.state[ours_now][name], optimizer.state[param][name])
    other_model.load_state_dict(model.state_dict())
    train(other_model, other, 2, 5)
    assert_same_parameters(other_model, trained()[0])


def test_what_a_part_keeps_is_never_taken_for_somebody_else_s():
    model, optimizer = trained(last=2)
    for param in model.parameters():
        optimizer.state[param]["average"] = param.detach() + 1
    averaging = ours.AdamW(model.parameters(), lr=0.01, average="ema")
    averaging.load_state_dict(optimizer.state_dict())  # whose average begins with the next step
    assert all(map(torch.equal, averaging.averaged()[0], model.parameters()))
    train(model, averaging, 0, 1)
    with pytest.raises(ValueError, match=r"the .* average that keeps \['average', 'averaged'\]"):
        optimizer.load_state_dict(averaging.state_dict())


@pytest.mark.parametrize(("theirs", "mine"), [("AdamW", "SGD"), ("AdamW", "Lion")])
def test_state_of_another_rule_is_not_taken_for_somebody_else_s(theirs, mine):
    snapshot = trained(getattr(torch.optim, theirs), last=1)[1].state_dict()
    del snapshot["param_groups"][0]["betas"]
    model, optimizer = trained(getattr(ours, mine), last=1)
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match=r"has \['exp_avg', 'exp_avg_sq', 'step'\]; expected"):
        optimizer.load_state_dict(snapshot)
    assert_same_parameters(model, before)


def test_parameters_may_be_put_into_a_group():
    model = network()
    first, *rest = model.parameters()
    optimizer = ours.AdamW([first], lr=0.01)
    optimizer.param_groups[0]["params"].extend(rest)
    train(model, optimizer)
    assert_same_parameters(model, trained()[0])


def test_a_step_count_may_be_written_to():
    model, optimizer = trained(last=2)
    reference, plain = trained(last=2)
    snapshot = copy.deepcopy(plain.state_dict())
    for param, entry in zip(model.parameters(), snapshot["state"].values(), strict=True):
        optimizer.state[param]["step"].add_(100)
        entry["step"] = entry["step"] + 100
    plain.load_state_dict(snapshot)
    train(model, optimizer, 2, 4)
    train(reference, plain, 2, 4)
    assert_same_parameters(model, reference)
    assert {float(entry["step"]) for entry in optimizer.state.values()} == {104}
    with_two = trained(last=4)[0]
    assert not torch.equal(with_two[0].weight, model[0].weight)


def test_state_may_be_thrown_away():
    model, optimizer = trained(last=2)
    reference = copy.deepcopy(model)
    optimizer.state.clear()
    train(model, optimizer, 2, 5)
    train(reference, ours.AdamW(reference.parameters(), lr=0.01), 2, 5)
    assert_same_parameters(model, reference)


def test_a_model_that_is_converted_on_the_way():
    """Its parameters stand for other memory then, of another dtype."""
    models = network(torch.float32), network(torch.float32)
    for module, model in zip((ours, torch.optim), models, strict=True):
        optimizer = module.AdamW(model.parameters(), lr=0.01)
        train(model, optimizer, 0, 2)
        model.double()
        if module is torch.optim:  # which leaves this to the user
            optimizer.load_state_dict(optimizer.state_dict())
        train(model, optimizer, 2, 5)
    assert models[0][0].weight.dtype == torch.float64
    for param, expected in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(param, expected, rtol=1e-6, atol=1e-7)


def test_state_that_does_not_fit_is_an_error():
    model, optimizer = trained(last=2)
    before, entry = copy.deepcopy(model), optimizer.state[model[0].weight]
    for name, value, error in (
        ("exp_avg", torch.ones(3), ValueError),
        ("exp_avg", None, TypeError),
        ("exp_avg", torch.ones(6, 4) * 1j, TypeError),
        ("exp_avg", torch.ones(6, 4, device="meta"), ValueError),
        ("step", torch.tensor(-1.0), ValueError),
    ):
        kept, entry[name] = entry[name], value
        with pytest.raises(error, match=rf"params\[0\].*{name}|{name} of params\[0\]"):
            train(model, optimizer, 2, 3)
        entry[name] = kept
        assert_same_parameters(model, before)
    train(model, optimizer, 2, 5)
    assert_same_parameters(model, trained()[0])


# ---- copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("when", [0, 3])
def test_copies_go_on_from_where_they_were_taken(copied, when):
    model, optimizer = trained(ours.NAdam, last=when, foreach=True)
    model_copy, optimizer_copy = copied((model, optimizer))
    train(model, optimizer, when, 5)
    train(model_copy, optimizer_copy, when, 5)
    assert_same_parameters(model, model_copy)
    assert_same_parameters(model, trained(ours.NAdam)[0])
    assert optimizer_copy.backend.name == "torch:foreach"
    assert optimizer_copy.param_groups[0]["params"][0] is model_copy[0].weight


def test_a_pickle_does_not_grow_with_the_square_of_the_number_of_parameters():
    sizes = []
    for count in (100, 200):
        params = [torch.ones(1, requires_grad=True) for _ in range(count)]
        optimizer = ours.SGD(params)
        for param in params:
            param.grad = torch.ones(1)
        optimizer.step()
        sizes.append(len(pickle.dumps(optimizer)))
    assert sizes[1] < 2.5 * sizes[0]


def test_a_state_dict_is_taken_by_name_where_both_have_names():
    """torch goes by position, and swaps the moments of parameters of one shape in silence."""
    model = network()
    optimizer = ours.AdamW(model.named_parameters(), lr=0.01)
    train(model, optimizer)
    saved = optimizer.state_dict()
    names = saved["param_groups"][0]["param_names"]
    other = network()
    reordered = ours.AdamW(reversed(list(other.named_parameters())))
    reordered.load_state_dict(saved)
    assert reordered.param_groups[0]["param_names"] == names[::-1]
    other.load_state_dict(model.state_dict())
    assert_same_parameters(train(other, reordered, 5, 8), train(model, optimizer, 5, 8))

    renamed = ours.AdamW((f"module.{n}", p) for n, p in network().named_parameters())
    before = renamed.state_dict()
    with pytest.raises(
        ValueError, match=r"only saved: 0\.weight, .*; only given: module\.0\.weight"
    ):
        renamed.load_state_dict(saved)
    assert renamed.state_dict() == before
    del saved["param_groups"][0]["param_names"]
    renamed.load_state_dict(saved)  # by position, since it is asked for
    assert renamed.param_groups[0]["param_names"] == [f"module.{name}" for name in names]
