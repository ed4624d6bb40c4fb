"""Files of which only a part fits the parameters: a head that was exchanged, a layer more."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, random_like, snapshot, step
from samestep.checkpoint import CheckpointError


def saved(path, backend, rule="adamw"):
    """Two groups after two micro-batches and a step, one with a weight decay mask."""
    body = {"w": np.full((2, 3), 2.0, np.float32), "b": np.full(3, 3.0)}
    groups = [
        {"params": on(backend, body), "weight_decay_mask": {"w": True, "b": False}},
        {"params": on(backend, {"head": np.full(4, 4.0)}), "lr": 0.5},
    ]
    optimizer = ss.Optimizer(rule, groups, backend=backend, accumulation_steps=2)
    for seed in range(3):
        w, b, head = random_like([*body.values(), np.ones(4)], seed)
        step(optimizer, [{"w": w, "b": b}, {"head": head}])
    optimizer.save(path)
    return optimizer


def given(backend, **more):
    """The body in another order, a head of another size and name, and ``more``."""
    body = {"b": np.zeros(3), **more, "w": np.zeros((2, 3), np.float32)}
    return [{"params": on(backend, body)}, {"params": on(backend, {"head": np.full(9, 7.0)})}]


@pytest.mark.parametrize("rule", ["adamw", "sgd", "nadam"])
def test_what_fits_is_taken_and_the_rest_stays(rule, tmp_path, any_backend):
    path = tmp_path / "run.safetensors"
    original = saved(path, any_backend, rule)
    params = given(any_backend, new=np.full(2, 5.0))
    optimizer = ss.Optimizer.load(path, params, backend=any_backend, strict=False)
    taken, skipped, missing = optimizer.loaded
    assert taken == ["group[0]['w']", "group[0]['b']"]
    assert list(skipped) == ["group[1]['head']"]
    assert skipped["group[1]['head']"].startswith("has shape (4,) and dtype float64; here ((9,)")
    assert missing == ["group[0]['new']", "group[1]['head']"]
    assert optimizer.steps == [1, 1, 0, 0]
    assert (optimizer.steps_taken, optimizer.micro_steps) == (1, 1)
    assert optimizer.param_groups[1]["lr"] == 0.5
    ours, theirs = (o.state_dict() for o in (optimizer, original))
    assert ours["param_groups"][0]["weight_decay_mask"] == [True, False, True]
    for i in range(2):
        entries = [{n: np.array(v) for n, v in d["state"][i].items()} for d in (ours, theirs)]
        assert_same(*entries)
    assert_same(*({str(i): d["accumulated"][i] for i in range(2)} for d in (ours, theirs)))
    assert list(ours["accumulated"]) == [0, 1]
    found = off(any_backend, params[0]["params"])
    np.testing.assert_array_equal(found["w"], snapshot(original)["param 0"])
    np.testing.assert_array_equal(found["new"], [5.0, 5.0])
    np.testing.assert_array_equal(off(any_backend, params[1]["params"])["head"], np.full(9, 7.0))
    optimizer.step([None, None])


def test_all_fits(tmp_path, backend):
    path = tmp_path / "run.safetensors"
    original = saved(path, backend)
    for strict in (False, True):
        body = {"b": np.zeros(3), "w": np.zeros((2, 3), np.float32)}
        params = [{"params": body}, {"params": {"head": np.zeros(4)}}]
        optimizer = ss.Optimizer.load(path, params, backend=backend, strict=strict)
        assert_same(snapshot(optimizer), snapshot(original))
        assert optimizer.loaded == (
            ["group[0]['w']", "group[0]['b']", "group[1]['head']"], {}, []
        )  # fmt: skip
    assert original.loaded is None


def test_what_does_not_fit_is_still_refused_where_it_is_not_about_one_parameter(tmp_path):
    path = tmp_path / "run.safetensors"
    saved(path, "numpy")
    with pytest.raises(CheckpointError, match="has 2 parameter groups; 1 were given"):
        ss.Optimizer.load(path, {"w": np.ones(1)}, strict=False)
    with pytest.raises(CheckpointError, match="expected 'sgd'"):
        ss.SGD.load(path, given("numpy"), strict=False)
    with pytest.raises(CheckpointError, match=r"only saved: .*head"):
        ss.Optimizer.load(path, [*given("numpy", new=np.ones(2))[:1], {"params": {}}])
