"""Other arrays in the places of parameters, and groups that were written to: they count, or they
are refused, and nothing is changed."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, refused, snapshot
from samestep import identities


def params():
    return {"w": np.arange(4.0), "layers": [(np.ones(2), [np.full(3, 2.0)])]}


def grads(value=1.0):
    return {"w": np.full(4, value), "layers": [(np.full(2, value), [np.full(3, value)])]}


PLACES = {
    "in a dict": lambda tree: (tree, "w"),
    "in an inner list": lambda tree: (tree["layers"][0][1], 0),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "options", [{}, {"accumulation_steps": 2}, {"clip_global_norm": 0.5}], ids=str
)
def test_an_array_in_the_place_of_another_is_updated_with_the_state_of_the_place(
    place, options, backend
):
    """As if the values had been written into the old array, which stays as it is now."""
    replaced, written = params(), params()
    first = ss.AdamW(replaced, lr=0.1, backend=backend, **options)
    second = ss.AdamW(written, lr=0.1, backend=backend, **options)
    for optimizer in (first, second):
        for k in range(3):  # and one micro-batch of a window
            optimizer.step(grads(k + 1.0))
    container, key = PLACES[place](replaced)
    old = container[key]
    before, values = old.copy(), np.clip(old, 0.5, 1.5)
    container[key] = values.copy()
    container, key = PLACES[place](written)
    container[key][...] = values
    for optimizer in (first, second):
        for k in range(3):
            optimizer.step(grads(k - 3.0))
    assert_same(snapshot(first), snapshot(second))
    assert old.tolist() == before.tolist()


def test_params_of_a_group_may_be_replaced_as_a_whole(backend):
    old, new = np.ones(3), np.full(3, 5.0)
    optimizer = ss.SGD([old], lr=1.0, momentum=0.5, backend=backend)
    optimizer.step([np.ones(3)])
    for replacement in ([new], iter([new])):
        optimizer.param_groups[0]["params"] = replacement
        optimizer.step([np.ones(3)])
    assert (old.tolist(), new.tolist()) == ([0.0] * 3, [5 - 1.5 - 1.75] * 3)
    optimizer = ss.SGD(old, lr=1.0, backend=backend)
    optimizer.param_groups[0]["params"] = new
    optimizer.step(np.ones(3))
    assert (old.tolist(), new.tolist()) == ([0.0] * 3, [0.75] * 3)


def test_arrays_that_were_exchanged_keep_the_state_of_their_place(backend):
    first, second = np.ones(2), np.full(2, 10.0)
    given = [first, second]
    optimizer = ss.SGD(given, lr=1.0, momentum=0.5, backend=backend)
    optimizer.step([np.ones(2), np.zeros(2)])
    given.reverse()
    optimizer.step([np.zeros(2), np.zeros(2)])
    assert (first.tolist(), second.tolist()) == ([0.0] * 2, [9.5] * 2)


def test_what_is_saved_or_copied_is_the_array_that_stands_there_now(backend, tmp_path):
    given = {"w": np.ones(3)}
    optimizer = ss.SGD(given, backend=backend)
    optimizer.step({"w": np.ones(3)})
    given["w"] = np.full(3, 7.0)
    optimizer.save(tmp_path / "file")
    loaded = {"w": np.zeros(3)}
    ss.SGD.load(tmp_path / "file", loaded, backend=backend)
    assert loaded["w"].tolist() == [7.0] * 3
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert copied.param_groups[0]["params"]["w"].tolist() == [7.0] * 3
        copied.step({"w": np.ones(3)})
    given["w"] = np.full(3, 8.0)
    with pytest.raises(ValueError, match=r"params\['w'\] and group\[1\] share memory"):
        optimizer.add_param_group({"params": given["w"][1:]})


def lose(optimizer):
    del optimizer.param_groups[0]["params"]


def replace_by(array):
    def change(optimizer):
        optimizer.param_groups[0]["params"][0] = array

    return change


CHANGES = {
    "deleted": (lose, "a group in param_groups has lost its entry 'params'"),
    "no dict": (
        lambda o: o.param_groups.__setitem__(0, 3), "a group in param_groups has lost its entry 'pa"
    ),
    "cleared": (
        lambda o: o.param_groups[0]["params"].clear(),
        r"param_groups\[0\]\['params'\] has 0 entries; the parameters have 2; add_param_group adds",
    ),
    "appended to": (
        lambda o: o.param_groups[0]["params"].append(np.ones(1)),
        r"param_groups\[0\]\['params'\] has 3 entries; the parameters have 2; add_param_group adds",
    ),
    "another structure": (
        lambda o: o.param_groups[0].update(params={"a": np.ones(2)}),
        r"param_groups\[0\]\['params'\] must be a list like the parameters, not dict; add_param_gr",
    ),
    "a group appended": (
        lambda o: o.param_groups.append({"params": np.ones(1)}),
        "param_groups has 2 groups; this optimizer 1; add_param_group adds one",
    ),
    "groups cleared": (
        lambda o: o.param_groups.clear(), "param_groups has 0 groups; this optimizer 1; add_param_"
    ),
    "shape": (
        replace_by(np.ones(3)),
        r"params\[0\] is another array now, of shape \(3,\) and dtype float64; expected \(2,\) and",
    ),
    "dtype": (
        replace_by(np.ones(2, np.float32)),
        r"params\[0\] is another array now, of shape \(2,\) and dtype float32; .* and float64, as",
    ),
    "no array": (replace_by(1.0), r"params\[0\] is a float; "),
    "None": (replace_by(None), r"params\[0\] is a NoneType"),
    "read-only": (replace_by(np.broadcast_to(1.0, 2)), r"params\[0\] is read-only; a parameter"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_cannot_count_is_refused_before_anything_is_changed(name, backend):
    change, message = CHANGES[name]
    arrays = [np.ones(2), np.ones(3)]
    optimizer = ss.Adam(list(arrays), lr=0.5, backend=backend)
    gradients = [np.ones(2), np.ones(3)]
    optimizer.step(gradients)
    group = optimizer.param_groups[0]
    kept, before = dict(group, params=list(arrays)), [a.copy() for a in arrays]
    change(optimizer)
    for _ in range(2):
        with pytest.raises((TypeError, ValueError), match=message):
            optimizer.step(gradients)
    assert [a.tolist() for a in arrays] == [b.tolist() for b in before]
    optimizer.param_groups[:] = [kept]
    optimizer.step(gradients)
    assert optimizer.steps == [2, 2]
    assert all((a < b).all() for a, b in zip(arrays, before, strict=True))


def test_a_flush_updates_the_array_that_stands_there_now(backend):
    given = [np.zeros(2)]
    optimizer = ss.SGD(given, lr=1.0, accumulation_steps=3, backend=backend)
    optimizer.step([np.ones(2)])
    old, given[0] = given[0], np.full(2, 5.0)
    optimizer.flush()
    assert (old.tolist(), given[0].tolist()) == ([0.0] * 2, [4.0] * 2)


def test_two_places_cannot_hold_one_array(backend):
    given = [np.ones(2), np.ones(2)]
    optimizer = ss.SGD(given, backend=backend)
    kept, given[1] = given[1], given[0]
    with pytest.raises(ValueError, match=r"params\[0\] and params\[1\] share memory"):
        optimizer.step([np.ones(2), np.ones(2)])
    given[1] = kept
    with refused(optimizer, ValueError, "grads has 1 entries"):
        optimizer.step([np.ones(2)])


def test_tensors_of_pytorch_are_followed_too(any_backend):
    torch = pytest.importorskip("torch")
    if not ss.get_backend(any_backend).accepts(torch.ones(1)):
        pytest.skip("not of tensors in host memory")

    def tensor(value):
        placed = on(any_backend, array := np.full(3, value, np.float32))
        return placed if isinstance(placed, torch.Tensor) else torch.from_numpy(array)

    given = {"w": tensor(1.0)}
    optimizer = ss.SGD(given, lr=1.0, momentum=0.5, backend=any_backend)
    optimizer.step({"w": tensor(1.0)})
    old, given["w"] = given["w"], tensor(5.0)
    optimizer.step({"w": tensor(1.0)})
    found = [off(any_backend, each).tolist() for each in (old, given["w"])]
    assert found == [[0.0] * 3, [3.5] * 3]


def test_a_list_is_looked_at_where_it_lies_however_it_was_written_to(monkeypatch):
    arrays = [np.zeros(1) for _ in range(3)]
    writes = {
        "another in a place": lambda held: held.__setitem__(1, np.zeros(1)),
        "one more": lambda held: held.append(np.zeros(1)),
        "one less": lambda held: held.pop(),
        "none": lambda held: held.clear(),
        "others of the same number": lambda held: held.__setitem__(slice(None), [0, 1, 2]),
    }
    for readable in (identities.LIST_IS_READABLE, False):
        monkeypatch.setattr(identities, "LIST_IS_READABLE", readable)
        for about, write in writes.items():
            held = list(arrays)
            unchanged = identities.watched(held)
            held[0] = held[0]
            assert unchanged(), about
            write(held)
            assert not unchanged(), about
        nothing: list = []
        unchanged = identities.watched(nothing)
        assert unchanged()
        nothing.append(1)
        assert not unchanged()
