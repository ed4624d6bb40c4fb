"""State dicts whose parameters have names: they are found by them, in whatever order."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, refused, snapshot, step

KEYS = ("first", "second", "third")


def stepped(backend, keys=KEYS, steps=2, **options):
    """Parameters of one shape, each with gradients of its own."""
    params = {key: np.full(3, 2.0) for key in keys}
    optimizer = ss.Adam(params, lr=0.1, backend=backend, **options)
    for _ in range(steps):
        optimizer.step({key: np.full(3, 1.0 + KEYS.index(key)) for key in keys})
    return optimizer, params


def by_name(optimizer):
    group = optimizer.state_dict()["param_groups"][0]
    state = optimizer.state_dict()["state"]
    return {name: state[i] for name, i in zip(group["param_names"], group["params"], strict=True)}


def state_of(optimizer):
    return {name: v for name, v in snapshot(optimizer).items() if not name.startswith("param")}


def test_parameters_in_another_order_are_found_by_name(backend):
    saved, _ = stepped(backend, accumulation_steps=3)
    other, params = stepped(backend, KEYS[::-1], steps=0)
    other.load_state_dict(saved.state_dict())
    assert list(by_name(other)) == list(params) == list(KEYS[::-1])
    for optimizer in (saved, other):  # the sums of two micro-batches are those of their parameter
        optimizer.step(dict.fromkeys(KEYS))
    ours, expected = by_name(other), by_name(saved)
    for key in KEYS:
        assert_same(*({n: np.array(v) for n, v in e[key].items()} for e in (ours, expected)))


def test_the_mask_follows_its_parameter(backend):
    saved, _ = stepped(backend, weight_decay_mask={"first": True, "second": True, "third": False})
    other, _ = stepped(backend, KEYS[::-1], steps=0)
    other.load_state_dict(saved.state_dict())
    assert other.state_dict()["param_groups"][0]["weight_decay_mask"] == [False, True, True]


def test_other_names_are_refused(backend):
    saved, _ = stepped(backend)
    other = ss.Adam({key: np.ones(3) for key in ("first", "second", "last")}, backend=backend)
    message = "group 0: .*only saved: third; only given: last; rename them in 'param_names'"
    with refused(other, ValueError, message):
        other.load_state_dict(saved.state_dict())
    fewer = ss.Adam({"first": np.ones(3)}, backend=backend)
    with refused(fewer, ValueError, "only saved: second, third; only given: none"):
        fewer.load_state_dict(saved.state_dict())
    state = saved.state_dict()
    del state["param_groups"][0]["param_names"]
    other.load_state_dict(state)  # by position, since it is asked for
    assert_same(state_of(other), state_of(saved))


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["first", "second"], ValueError, "2 param_names for 3 params"),
        (["first", "first", "second"], ValueError, "only given: third"),
        (["first", "second", 3], TypeError, "param_names must be a list of strings"),
        ("first", TypeError, "param_names must be a list of strings"),
    ],
)
def test_names_that_are_none_are_refused(names, error, message, backend):
    optimizer, _ = stepped(backend)
    state = optimizer.state_dict()
    state["param_groups"][0]["param_names"] = names
    with refused(optimizer, error, message):
        optimizer.load_state_dict(state)


def test_which_names_parameters_have():
    def names(params):
        groups = ss.SGD(params, backend="numpy").state_dict()["param_groups"]
        return [group.get("param_names") for group in groups]

    one, two = np.ones(1), np.ones(1)
    assert names([one, two]) == [None]  # places are no names
    assert names(one) == [None]
    assert names([{"w": one}, {"w": two}]) == [["0.w", "1.w"]]
    assert names({"a.b": one, "a": {"b": two}}) == [["params['a.b']", "params['a']['b']"]]
    assert names([{"params": {"w": one}}, {"params": [two]}]) == [["w"], None]


def test_without_names_on_one_side_places_count(backend):
    saved, _ = stepped(backend)
    listed = ss.Adam([np.ones(3) for _ in KEYS], backend=backend)
    listed.load_state_dict(saved.state_dict())
    again, _ = stepped(backend, steps=0)
    again.load_state_dict(listed.state_dict())
    assert_same(state_of(again), state_of(saved))


def test_a_parameter_that_is_there_twice_is_refused(backend):
    optimizer, _ = stepped(backend)
    state = optimizer.state_dict()
    state["param_groups"][0]["params"] = [0, 1, 1]
    with refused(optimizer, ValueError, "a parameter twice"):
        optimizer.load_state_dict(state)


def test_live_state_arrays_may_change_places(any_backend):
    shapes = on(any_backend, [np.full(3, 2.0) for _ in KEYS])
    optimizer = ss.Adam(shapes, lr=0.1, backend=any_backend)
    step(optimizer, [np.full(3, 1.0 + i) for i in range(3)])
    state = optimizer.state_dict()
    for entry, live in zip(state["state"].values(), optimizer.state, strict=True):
        entry.update(live)
    before = [off(any_backend, dict(entry)) for entry in optimizer.state]
    entries = state["state"]
    for name in ("exp_avg", "exp_avg_sq"):
        entries[0][name], entries[1][name] = entries[1][name], entries[0][name]
        entries[2][name] = entries[2][name][...]  # itself, as another view
    optimizer.load_state_dict(state)
    after = [off(any_backend, dict(entry)) for entry in optimizer.state]
    for found, expected in zip(after, (before[1], before[0], before[2]), strict=True):
        assert_same(found, expected)


def test_parameters_without_an_entry_begin_anew(any_backend):
    """torch's optimizers have no entry for a parameter that never had a gradient."""
    params = on(any_backend, [np.ones(3), np.ones(4)])
    optimizer = ss.Adam(params, backend=any_backend)
    optimizer.step(on(any_backend, [np.ones(3), np.ones(4)]))
    taken = optimizer.state_dict()
    del taken["state"][1]
    optimizer.load_state_dict(taken)
    assert optimizer.steps == [1, 0]
    first, second = (off(any_backend, state) for state in optimizer.state)
    assert first["exp_avg"].tolist() != [0.0] * 3
    assert second["exp_avg"].tolist() == [0.0] * 4


def test_states_that_are_tensors_in_host_memory_may_change_places(backend):
    torch = pytest.importorskip("torch")
    params = [torch.ones(3), torch.ones(3)]
    if not ss.get_backend(backend).accepts(params[0]):
        pytest.skip("not of tensors in host memory")
    optimizer = ss.Adam(params, backend=backend)
    optimizer.step([torch.ones(3), torch.full((3,), 2.0)])
    live = [dict(state) for state in optimizer.state]
    before = [state["exp_avg"].tolist() for state in live]
    taken = optimizer.state_dict()
    taken["state"] = {i: {**taken["state"][i], **live[1 - i]} for i in (0, 1)}
    optimizer.load_state_dict(taken)
    assert [state["exp_avg"].tolist() for state in optimizer.state] == before[::-1]
    del taken["state"][1]
    optimizer.load_state_dict(taken)
    assert optimizer.state[1]["exp_avg"].tolist() == [0.0] * 3
