"""Checkpoints: what is saved comes back, and what does not fit changes nothing."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import samestep as ss
from checkpoint_cases import arrays, assert_equal, emptied, reloaded, step
from helpers import leaves
from samestep.checkpoint import CheckpointError
from samestep.golden.compare import same_bits


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def trained(backend, params=None, **hyper):
    optimizer = ss.NAdam(arrays() if params is None else params, backend=backend, **hyper)
    for number in range(3):
        step(optimizer, number)
    return optimizer


def assert_refused(path, params, message, **more):
    before = copy.deepcopy(leaves_of(params))
    contents = path.read_bytes()
    with pytest.raises(CheckpointError, match=message) as caught:
        ss.Optimizer.load(path, params, **more)
    assert str(path) in str(caught.value)
    for now, then in zip(leaves_of(params), before, strict=True):
        assert same_bits(now.real, then.real)
        assert same_bits(now.imag, then.imag)
    assert path.read_bytes() == contents


def leaves_of(tree):
    if isinstance(tree, dict | list | tuple):
        children = tree.values() if isinstance(tree, dict) else tree
        return [leaf for child in children for leaf in leaves_of(child)]
    return [tree] if isinstance(tree, np.ndarray) else []


# ---- what comes back


def test_every_dtype_shape_and_stride_comes_back_and_goes_on(backend, path):
    optimizer = trained(backend)
    other = reloaded(optimizer, path)
    assert_equal(other, optimizer)
    assert other.steps == [2, *[3] * 12]
    for number in range(3, 6):
        step(optimizer, number)
        step(other, number)
    assert_equal(other, optimizer)


def test_control_optimizers_that_differ_in_one_thing_are_noticed():
    def turn_one_bit(array):
        array.reshape(-1).view(np.uint8)[0] ^= 1

    for change in (
        lambda o: turn_one_bit(o.param_groups[0]["params"]),
        lambda o: turn_one_bit(o.state[0]["exp_avg"]),
        lambda o: o.step(np.zeros(3)),
        lambda o: o.param_groups[0].update(lr=np.nextafter(0.002, 1)),
        lambda o: o.param_groups[0].update(frozen=True),
        lambda o: setattr(o, "clip_global_norm", 1e300),
    ):
        one, other = trained("numpy", np.ones(3)), trained("numpy", np.ones(3))
        assert_equal(one, other)
        change(other)
        with pytest.raises(AssertionError):
            assert_equal(one, other)


def test_parameters_are_filled_in_place(path):
    trained("numpy").save(path)
    params = emptied(arrays())
    optimizer = ss.Optimizer.load(path, params, backend="numpy")
    assert optimizer.param_groups[0]["params"]["odd"][1] is params["odd"][1]
    assert all(a is b for a, b in zip(leaves(optimizer), leaves_of(params), strict=True))
    assert not (params["odd"][0] == 7).any()


def test_saving_changes_nothing(backend, path):
    optimizer, untroubled = trained(backend), trained(backend)
    optimizer.save(path)
    assert_equal(optimizer, untroubled)
    step(optimizer, 3)
    step(untroubled, 3)
    assert_equal(optimizer, untroubled)


def test_groups_hyperparameters_and_settings_come_back(path):
    params = [
        {"params": {"a": np.ones(3), "b": np.ones((2, 2))}, "lr": 0.5},
        {"params": np.ones(4)},
    ]
    optimizer = ss.Optimizer("adam", params, amsgrad=True, betas=(0.5, 0.25), backend="numpy")
    step(optimizer, 0)
    optimizer.param_groups[0].update(lr=1 / 3, maximize=True)
    optimizer.param_groups[1].update(frozen=True, eps=5e-324)
    step(optimizer, 2)
    other = reloaded(optimizer, path)
    assert_equal(other, optimizer)
    assert other.param_groups[0]["lr"] == 1 / 3
    assert other.param_groups[1]["frozen"] is True
    assert other.param_groups[1]["eps"] == 5e-324
    assert other.param_groups[0]["betas"] == (0.5, 0.25)
    assert [set(state) for state in other.state] == [
        {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    ] * 3
    other.add_param_group({"params": np.ones(1)})
    assert other.param_groups[2]["betas"] == (0.5, 0.25)  # a later group has the saved defaults


@pytest.mark.parametrize("grouped", [False, True])
def test_momentum_that_has_become_zero_comes_back(grouped, backend, path):
    params = [{"params": np.ones(3)}, {"params": np.ones(2)}] if grouped else np.ones(3)
    optimizer = ss.SGD(params, lr=0.1, momentum=0.9, backend=backend)
    step(optimizer, 0)
    optimizer.param_groups[0]["momentum"] = 0.0
    other = reloaded(optimizer, path)
    for each in (optimizer, other):
        step(each, 2)
        each.param_groups[0]["momentum"] = 0.9
        step(each, 3)
    assert_equal(other, optimizer)


def test_a_group_that_was_added_later_is_a_group(path):
    optimizer = ss.SGD({"a": np.ones(2)}, momentum=0.9, backend="numpy")
    step(optimizer, 0)
    optimizer.add_param_group({"params": [np.zeros(3)], "lr": 1.0})
    optimizer.step([{"a": np.ones(2)}, [np.ones(3)]])
    assert_equal(reloaded(optimizer, path), optimizer)


def test_one_group_and_the_same_parameters_alone_are_the_same(path):
    trained("numpy", [{"params": [np.ones(3)]}]).save(path)
    params = [np.zeros(3)]
    one, other = ss.Optimizer.load(path, params), ss.Optimizer.load(path, [{"params": params}])
    assert one.steps == other.steps == [2]
    one.step([np.ones(3)])
    other.step([[np.ones(3)]])


def test_hyperparameters_in_the_call_are_not_looked_at(path):
    trained("numpy", [{"params": [np.ones(3)], "lr": 0.5}]).save(path)
    other = ss.Optimizer.load(path, [{"params": [np.ones(3)], "lr": 0.25, "frozen": True}])
    assert other.param_groups[0]["lr"] == 0.5
    assert not other.param_groups[0]["frozen"]


def test_entries_of_a_dict_are_found_by_name_whatever_their_order(backend, path):
    def params(keys):
        return {k: {n: np.full(3, 7.0) for n in keys} for k in keys}

    optimizer = trained(backend, params(["a", "b", "c"]), clip_global_norm=0.5)
    step(optimizer, 3)
    optimizer.save(path)
    turned = params(["c", "a", "b"])
    other = ss.Optimizer.load(path, turned, backend=backend)
    assert_equal(other, optimizer)  # in the order of the file, so that sums have the same bits
    first = optimizer.param_groups[0]["params"]
    assert all(same_bits(turned[k][n], first[k][n]) for k in "abc" for n in "abc")
    grads = {k: {n: np.full(3, 100.0 * ord(n)) for n in "abc"} for k in "bca"}
    optimizer.step(grads)
    other.step(grads)
    assert_equal(other, optimizer)


def test_a_rule_of_one_s_own(path):
    def update(xp, s, param, grad, memory):
        memory = memory + grad * grad
        return param - s.lr * grad / (1 + memory), memory

    rule = ss.Rule("own", lambda xp, step, carry, h: (dict(lr=h.lr), carry), update, {"lr": 0.5})
    optimizer = ss.Optimizer(rule, [np.ones(3)], backend="numpy")
    step(optimizer, 0)
    assert_equal(reloaded(optimizer, path, rule=rule), optimizer)
    assert_refused(path, [np.ones(3)], "no rule 'own'.*is given as rule=")
    assert_refused(path, [np.ones(3)], "is of rule 'own'; expected 'sgd'", rule="sgd")


def test_numbers_that_json_lacks_and_memory_mapped_parameters(tmp_path, path):
    mapped = np.memmap(tmp_path / "weights", np.float32, "w+", shape=(3,))
    mapped[:] = np.nan, np.inf, -0.0
    optimizer = ss.NAdam([mapped], backend="numpy")
    step(optimizer, 0)
    snapshot = optimizer.state_dict()
    snapshot["state"][0]["mu_product"] = np.inf
    optimizer.load_state_dict(snapshot)
    other = reloaded(optimizer, path)
    assert other.state_dict()["state"][0]["mu_product"] == np.inf
    assert_equal(other, optimizer)


def test_a_function_cannot_be_saved_and_the_previous_file_stays(path):
    optimizer = trained("numpy", [np.ones(3)])
    optimizer.save(path)
    before = path.read_bytes()
    optimizer.param_groups[0]["lr"] = lambda step: 0.1
    with pytest.raises(TypeError, match=r"param_groups/0/lr is the function .*samestep\.schedules"):
        optimizer.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# ---- what does not fit


def test_what_does_not_fit_is_refused_and_nothing_changes(path):
    trained("numpy", {"w": np.ones((2, 3), np.float32), "b": [np.ones(2), np.ones(4)]}).save(path)

    def given(w=(2, 3), b=(2, 4), dtype=np.float32, **more):
        return {"w": np.zeros(w, dtype), "b": [np.zeros(n) for n in b], **more}

    assert ss.Optimizer.load(path, given()).steps == [2, 3, 3]
    assert_refused(path, given(w=(3, 2)), r"\['w'\] has shape \(3, 2\).*saved were \(2, 3\)")
    assert_refused(path, given(w=(1, 2, 3)), r"\['w'\] has shape \(1, 2, 3\)")
    assert_refused(path, given(b=(4, 2)), r"\['b'\]\[0\] has shape \(4,\)")
    assert_refused(path, given(dtype=np.float64), "dtype float64; saved were .* float32")
    assert_refused(path, given(b=(2,)), r"only saved: group\[0\]\['b'\]\[1\]; only given: none")
    assert_refused(path, given(c=np.ones(1)), r"only given: group\[0\]\['c'\]")
    assert_refused(path, [{"params": given()}, {"params": given()}], "has 1 parameter groups; 2")
    assert_refused(path, np.ones(3), "saved was a list or dict of arrays, given an array")
    assert_refused(path, [], "only given: none")
    assert_refused(path, given(), "is of rule 'nadam'; expected 'adam'", rule="adam")


def test_an_array_and_a_list_of_it_are_told_apart(path):
    trained("numpy", np.ones(3)).save(path)
    assert_refused(
        path, [np.ones(3)], "saved was an array, given a list with 1 entry; give them as"
    )
    assert_refused(path, {"a": np.ones(3), "b": np.ones(2)}, "given a dict with 2 entries")


def test_a_class_of_one_rule_loads_that_rule_as_its_own(path):
    ss.AdamW([np.ones(3)]).save(path)
    with pytest.raises(ss.CheckpointError, match="is of rule 'adamw'; expected 'sgd'"):
        ss.SGD.load(path, [np.ones(3)])
    assert type(ss.AdamW.load(path, [np.ones(3)])) is ss.AdamW
    assert type(ss.Optimizer.load(path, [np.ones(3)])) is ss.Optimizer


def test_many_names_that_do_not_fit_make_no_endless_message(path):
    trained("numpy", [np.ones(1) for _ in range(1000)]).save(path)
    assert_refused(
        path, [np.ones(1)], r"group\[0\]\[5\] and 994 more; only given: none; strict=False"
    )


def test_arrays_that_no_optimizer_updates_are_the_caller_s_error(path):
    trained("numpy", [np.ones(3)]).save(path)
    read_only = np.zeros(3)
    read_only.flags.writeable = False
    for params, error, message in (
        ([[1.0, 2.0, 3.0]], CheckpointError, "only given"),
        ([np.zeros(3, int)], TypeError, r"^params\[0\] has dtype int64"),
        ([read_only], ValueError, r"^params\[0\] is read-only"),
    ):
        with pytest.raises(error, match=message):
            ss.Optimizer.load(path, params)
    with pytest.raises(ValueError, match="no such backend"):
        ss.Optimizer.load(path, [np.zeros(3)], backend="abacus")
    with pytest.raises(FileNotFoundError):
        ss.Optimizer.load(path.with_name("missing"), [np.zeros(3)])
    trained("numpy", [np.ones(3), np.ones(3)]).save(path)
    shared = np.zeros(3)
    with pytest.raises(ValueError, match=r"^params\[0\] and params\[1\] share memory"):
        ss.Optimizer.load(path, [shared, shared])
