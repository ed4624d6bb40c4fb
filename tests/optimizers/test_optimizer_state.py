"""Going on from a copy, a pickle, a state dict or the functional form's state: bit for bit."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, leaves, random_like, snapshot
from samestep import choice
from samestep.golden.compare import same_bits
from samestep.protocol import Availability
from variants import fitting

OPTIONS = {
    "sgd": dict(momentum=0.9, dampening=0.1, nesterov=True),
    "adam": dict(amsgrad=True, weight_decay=0.1),
    "rmsprop": dict(momentum=0.9, centered=True),
    "asgd": dict(t0=1.0),
    "rprop": dict(lr=0.3),
}


def make(rule, backend, **more):
    """Two groups, three dtypes, one tensor that is not contiguous, one that sat out a step."""
    rng = np.random.default_rng(0)
    first = [rng.standard_normal((6, 4)).astype(np.float32), rng.standard_normal((8, 2))[::2]]
    second = {"half": rng.standard_normal(5).astype(np.float16), "wave": np.ones(3, np.complex64)}
    first, second = fitting(rule, first), fitting(rule, second)
    groups = [{"params": first, "weight_decay": 0.1}, {"params": second, "lr": 0.01}]
    options = {**OPTIONS.get(rule, {}), **more}
    if "weight_decay" not in ss.rules.registry[rule].defaults:
        del groups[0]["weight_decay"]
    return ss.Optimizer(rule, groups, backend=backend, **options)


def step(optimizer, number):
    a, b, c, d = random_like(leaves(optimizer), number)
    optimizer.step([[a, None if number == 1 else b], {"half": c, "wave": d}])


def through_pickle(optimizer):
    return pickle.loads(pickle.dumps(optimizer))


@pytest.mark.parametrize("again", [copy.deepcopy, through_pickle])
@pytest.mark.parametrize("rule", ss.rules.registry)
def test_a_copy_goes_on_bit_for_bit_and_the_original_is_left_alone(rule, again, backend):
    optimizer, untroubled = make(rule, backend), make(rule, backend)
    for each in (optimizer, untroubled):
        for number in range(3):
            step(each, number)
        each.param_groups[0]["lr"] = 0.5
    other = again(optimizer)
    assert type(other) is type(optimizer)
    assert other.backend.name == backend
    assert other.steps == optimizer.steps == [3, 2, 3, 3]
    for number in range(3, 6):
        step(other, number)
    assert_same(snapshot(optimizer), snapshot(untroubled))
    for number in range(3, 6):
        step(optimizer, number)
    assert_same(snapshot(other), snapshot(optimizer))


@pytest.mark.parametrize("again", [copy.deepcopy, through_pickle])
def test_classes_of_rules_and_momentum_that_became_zero_survive_a_copy(again, backend):
    optimizer = ss.SGD([np.ones(3)], lr=0.1, momentum=0.9, backend=backend)
    optimizer.step([np.ones(3)])
    optimizer.param_groups[0]["momentum"] = 0.0
    other = again(optimizer)
    assert type(other) is ss.SGD
    for each in (optimizer, other):
        each.step([np.full(3, 2.0)])
        each.param_groups[0]["momentum"] = 0.9
        each.step([np.full(3, 2.0)])
    assert_same(snapshot(other), snapshot(optimizer))


def test_a_copy_before_the_first_step_is_a_new_optimizer(backend):
    first = make("nadam", backend)
    second = through_pickle(first)
    for each in (first, second):
        step(each, 0)
    assert_same(snapshot(second), snapshot(first))


@pytest.mark.parametrize("number_of_other_steps", [0, 2])
@pytest.mark.parametrize("rule", ss.rules.registry)
def test_a_state_dict_goes_on_bit_for_bit_on_any_other_backend(
    rule, number_of_other_steps, backend
):
    """In a new optimizer, and in one that has gone elsewhere since."""
    for source, target in (("numpy", backend), (backend, "numpy")):
        optimizer = make(rule, source)
        for number in range(3):
            step(optimizer, number)
        saved = optimizer.state_dict()
        saved_copy = copy.deepcopy(saved)
        params = copy.deepcopy([group["params"] for group in optimizer.param_groups])
        options = OPTIONS.get(rule, {})
        other = ss.Optimizer(rule, [{"params": p} for p in params], backend=target, **options)
        if number_of_other_steps:
            others = leaves(other)
            before = [p.copy() for p in others]
            for number in range(number_of_other_steps):
                step(other, 50 + number)
            for param, value in zip(others, before, strict=True):
                param[...] = value
        other.load_state_dict(saved)
        for number in range(3, 6):
            step(optimizer, number)
            step(other, number)
        assert_same(snapshot(other), snapshot(optimizer))
        for i, entry in saved["state"].items():  # a snapshot is not connected with the optimizer
            assert_same(entry, saved_copy["state"][i])


def test_a_state_dict_has_torch_s_layout_and_hyperparameters_that_json_knows(backend):
    optimizer = make("nadam", backend)
    step(optimizer, 0)
    saved = optimizer.state_dict()
    assert saved["rule"] == "nadam"
    assert sorted(saved["state"]) == [0, 1, 2, 3]
    assert set(saved["state"][0]) == {"step", "mu_product", "exp_avg", "exp_avg_sq"}
    groups = json.loads(json.dumps(saved["param_groups"]))
    assert [group["params"] for group in groups] == [[0, 1], [2, 3]]
    assert groups[0]["betas"] == [0.9, 0.999]
    optimizer.load_state_dict({**saved, "param_groups": groups})
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    extra = {"foreach": None, "fused": None, "capturable": False, "initial_lr": 0.1}
    optimizer.load_state_dict({**saved, "param_groups": [{**g, **extra} for g in groups]})


def test_loading_brings_back_hyperparameters_step_counts_and_state(backend):
    optimizer = make("adam", backend)
    step(optimizer, 0)
    saved, before = optimizer.state_dict(), snapshot(optimizer)
    step(optimizer, 1)
    optimizer.param_groups[0]["lr"] = 7.0
    optimizer.param_groups[1]["frozen"] = True
    optimizer.load_state_dict(saved)
    now = snapshot(optimizer)
    state = [name for name in now if not name.startswith("param")]
    assert_same({n: now[n] for n in state}, {n: before[n] for n in state})
    assert optimizer.steps == [1, 1, 1, 1]
    assert optimizer.param_groups[0]["lr"] == 1e-3
    assert not optimizer.param_groups[1]["frozen"]


def test_a_parameter_without_an_entry_has_not_stepped_yet(backend):
    """As in torch, which makes state at the first step."""
    optimizer = ss.Adam([np.ones(2), np.ones(3)], backend=backend)
    optimizer.step([np.ones(2), None])
    saved = optimizer.state_dict()
    assert saved["state"].pop(1)["step"] == 0
    other = ss.Adam([np.ones(2), np.ones(3)], backend=backend)
    other.step([np.ones(2), np.ones(3)])
    other.load_state_dict(saved)
    assert other.steps == [1, 0]
    assert other.state[1]["exp_avg"].tolist() == [0.0] * 3


# ---- the functional form


@pytest.mark.parametrize("rule", ss.rules.registry)
def test_the_functional_form_leaves_its_arguments_alone_and_equals_the_one_in_place(rule, backend):
    options = OPTIONS.get(rule, {})
    rng = np.random.default_rng(1)
    params = {"w": rng.standard_normal((6, 5)).astype(np.float32), "b": [rng.standard_normal(4)]}
    params = fitting(rule, params)
    in_place = copy.deepcopy(params)
    optimizer = ss.Optimizer(rule, in_place, backend=backend, **options)
    the_rule = ss.rules.registry[rule]
    state = the_rule.init(params, backend=backend, **options)
    for number in range(3):
        rng = np.random.default_rng(number)
        grads = {"w": rng.standard_normal((6, 5)).astype(np.float32), "b": [rng.random(4)]}
        grads = fitting(rule, grads)
        arguments = copy.deepcopy((params, grads, state))
        lr = 0.1 / (number + 1)
        new_params, new_state = the_rule.apply(params, grads, state, backend=backend, lr=lr)
        for before, now in zip(arguments, (params, grads, state), strict=True):
            assert_equal_trees(now, before)
        params, state = new_params, new_state
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step(grads)
        assert_equal_trees(params, in_place)
        assert_equal_trees(state["state"], optimizer.state_dict()["state"])


def assert_equal_trees(ours, expected):
    """Nested containers with the same structure and bits."""
    assert type(ours) is type(expected)
    if isinstance(ours, dict):
        assert ours.keys() == expected.keys()
        for key in ours:
            assert_equal_trees(ours[key], expected[key])
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(expected)
        for one, other in zip(ours, expected, strict=True):
            assert_equal_trees(one, other)
    else:
        assert same_bits(ours, expected) if isinstance(ours, np.ndarray) else ours == expected


def test_control_trees_that_differ_are_noticed():
    tree = {"a": [np.ones(2), 1.0], "b": 0.5}
    for other in (
        {"a": [np.array([1.0, np.nextafter(1, 2)]), 1.0], "b": 0.5},
        {"a": [np.ones(2)], "b": 0.5},
        {"a": [np.ones(2), 1.0], "b": 0.25},
        {"a": [np.ones(2), 1.0]},
    ):
        with pytest.raises((AssertionError, ValueError)):
            assert_equal_trees(tree, other)


def test_the_functional_form_returns_what_it_was_given_and_accepts_groups(backend):
    rule = ss.rules.registry["adamw"]
    params = (np.ones(2), {"x": np.zeros(3, np.float32)})
    new, _ = rule.apply(params, params, rule.init(params, backend=backend), backend=backend)
    assert type(new) is tuple
    assert new[1]["x"].dtype == np.float32
    groups = [{"params": np.ones(2), "lr": 0.5}, {"params": np.ones(2)}]
    grads = [np.ones(2), np.ones(2)]
    state = rule.init(groups, backend=backend, lr=0.25, weight_decay=0.0)
    new, state = rule.apply(groups, grads, state, backend=backend)
    assert new[0]["params"].round(6).tolist() == [0.5, 0.5]
    assert new[1]["params"].round(6).tolist() == [0.75, 0.75]
    assert [group["lr"] for group in state["param_groups"]] == [0.5, 0.25]


def test_the_functional_form_refuses_an_unknown_hyperparameter(backend):
    rule, params = ss.rules.registry["sgd"], np.ones(2)
    state = rule.init(params, backend=backend)
    with pytest.raises(TypeError, match="sgd has no hyperparameter 'lrr'"):
        rule.apply(params, params, state, backend=backend, lrr=0.1)
    with pytest.raises(TypeError, match="sgd has no hyperparameter 'lrr'"):
        rule.init(params, backend=backend, lrr=0.1)


def test_momentum_that_has_become_zero_goes_on_in_the_functional_form(backend):
    rule = ss.rules.registry["sgd"]
    params, grads = np.ones(3), np.full(3, 0.5)
    state = rule.init(params, backend=backend, lr=1.0, momentum=0.5)
    for momentum in (0.5, 0.0, 0.0):
        params, state = rule.apply(params, grads, state, backend=backend, momentum=momentum)
    assert params.tolist() == [1 - 0.5 - 0.5 - 0.5] * 3


def test_a_state_dict_with_other_structural_options_is_refused(backend):
    made_with = ss.SGD(np.ones(3), momentum=0.9, backend=backend)
    other = ss.SGD(np.ones(3), backend=backend)
    with pytest.raises(ValueError, match=r"structural options .*'momentum': True.* was made with"):
        other.load_state_dict(made_with.state_dict())


def test_copy_copy_is_refused_and_says_what_copies(backend):
    """It would update the same parameters with other state."""
    optimizer = ss.Adam([np.ones(3)], backend=backend)
    with pytest.raises(TypeError, match=r"share its parameters but not its state; copy.deepcopy"):
        copy.copy(optimizer)


@pytest.mark.parametrize("missing", ["numba", "of another package"])
def test_a_pickle_goes_on_where_its_backend_cannot_run(missing, monkeypatch):
    optimizer, expected = (ss.AdamW([np.ones(3)], lr=0.1, backend="numpy") for _ in range(2))
    for each in (optimizer, expected):
        each.step([np.full(3, 0.5)])
    saved = {**optimizer.__getstate__(), "backend": missing}
    cannot = Availability("numba", False, "Numba is not installed", "install it")
    known = choice._availability
    monkeypatch.setattr(
        choice, "_availability", lambda name: cannot if name == "numba" else known(name)
    )
    second = ss.AdamW.__new__(ss.AdamW)
    with pytest.warns(UserWarning, match=f"'{missing}'.*; the optimizer goes on with 'numpy'"):
        second.__setstate__(copy.deepcopy(saved))
    assert second.backend.name == "numpy"
    for each in (second, expected):
        each.step([np.full(3, -1.0)])
    assert_same(snapshot(second), snapshot(expected))


def test_what_is_written_into_state_counts_and_nothing_there_is_replaced(backend, tmp_path):
    """Steps go on in the optimizer's own arrays: another one would be saved, and never updated."""
    optimizer = ss.AdamW([np.ones(3)], lr=0.1, backend=backend)
    optimizer.step([np.ones(3)])
    optimizer.state[0]["exp_avg"] = np.full(3, 7.0)
    optimizer.state[0]["mine"] = np.ones(3)
    assert list(optimizer.state[0]) == ["exp_avg", "exp_avg_sq"]
    np.testing.assert_allclose(optimizer.state[0]["exp_avg"], 0.1)
    optimizer.state[0]["exp_avg"][...] = 7.0
    optimizer.save(tmp_path / "run.safetensors")
    loaded = ss.AdamW.load(tmp_path / "run.safetensors", [np.ones(3)], backend=backend)
    assert loaded.state[0]["exp_avg"].tolist() == [7.0] * 3
