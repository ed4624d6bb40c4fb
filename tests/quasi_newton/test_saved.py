"""What L-BFGS keeps: a run that was saved and loaded goes on as the one that was not."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import samestep as ss
import torch
from helpers import off, on
from problems import rosenbrock
from samestep.golden.compare import first_difference

FUNCTION, START = rosenbrock(8)


def tree_of(backend):
    return on(backend, {"a": START[:3].copy(), "b": [START[3:].copy()]})


def closure_of(tree, backend):
    def closure():
        parts = off(backend, tree)
        value, grad = FUNCTION(np.concatenate([parts["a"], *parts["b"]]))
        return value, on(backend, {"a": grad[:3], "b": [grad[3:]]})

    return closure


def flat(tree, backend):
    parts = off(backend, tree)
    return np.concatenate([parts["a"], *parts["b"]])


@pytest.fixture
def halfway(backend):
    """An optimizer with more iterations than pairs behind it, and its parameters."""
    tree = tree_of(backend)
    opt = ss.LBFGS(tree, backend=backend, history=3, max_iter=5, max_evals=50, lr=0.7)
    opt.step(closure_of(tree, backend))
    return opt, tree


def by_file(opt, tree, backend, folder):
    opt.save(folder / "run.safetensors")
    values = tree_of(backend)
    return ss.LBFGS.load(folder / "run.safetensors", values, backend=backend), values


def by_state_dict(opt, tree, backend, folder):
    values = copy.deepcopy(tree)
    other = ss.LBFGS(values, backend=backend, history=3)
    other.load_state_dict(opt.state_dict())
    return other, values


def by_deepcopy(opt, tree, backend, folder):
    values = {"tree": tree, "opt": opt}
    both = copy.deepcopy(values)
    return both["opt"], both["tree"]


def by_pickle(opt, tree, backend, folder):
    both = pickle.loads(pickle.dumps((opt, tree)))
    return both


@pytest.mark.parametrize("kept", [by_file, by_state_dict, by_deepcopy, by_pickle])
def test_it_goes_on_as_if_nothing_had_been(kept, halfway, backend, tmp_path):
    opt, tree = halfway
    other, values = kept(opt, tree, backend, tmp_path)
    assert values is not tree
    assert repr(other) == repr(opt) == f"<lbfgs on {opt.backend.name}: 8 numbers, 3 of 3 pairs>"
    found = [o.step(closure_of(t, backend)) for o, t in ((opt, tree), (other, values))]
    assert found[0] == found[1]
    assert first_difference(flat(tree, backend), flat(values, backend)) is None
    assert (opt.iterations, opt.evaluations) == (other.iterations, other.evaluations)
    assert opt.iterations == 10
    assert (other.lr, other.max_iter, other.max_evals) == (0.7, 5, 50)


def test_another_backend_goes_on_with_the_same_bits(any_other_backend, tmp_path):
    tree = tree_of("numpy")
    opt = ss.LBFGS(tree, backend="numpy", history=3, max_iter=5)
    opt.step(closure_of(tree, "numpy"))
    opt.save(tmp_path / "run.safetensors")
    values = tree_of(any_other_backend)
    other = ss.LBFGS.load(tmp_path / "run.safetensors", values, backend=any_other_backend)
    assert opt.step(closure_of(tree, "numpy")) == other.step(closure_of(values, any_other_backend))
    ours, theirs = flat(values, any_other_backend), flat(tree, "numpy")
    assert first_difference(ours, theirs) is None


def test_control_another_history_goes_another_way(halfway, backend):
    opt, tree = halfway
    values = copy.deepcopy(tree)
    other = ss.LBFGS(values, backend=backend, history=3, max_iter=5, lr=0.7)
    for o, t in ((opt, tree), (other, values)):
        o.step(closure_of(t, backend))
    assert first_difference(flat(tree, backend), flat(values, backend)) is not None


def test_reset_forgets_the_history(halfway, backend):
    opt, tree = halfway
    opt.reset()
    assert (opt.iterations, opt.evaluations, opt.state_dict()["order"]) == (0, 0, [])
    assert opt.step(closure_of(tree, backend)).iterations


def test_what_does_not_fit_is_refused(halfway, backend, tmp_path):
    opt, tree = halfway
    good = opt.state_dict()
    with pytest.raises(ValueError, match="is no state dict of L-BFGS"):
        opt.load_state_dict({"state": {}})
    with pytest.raises(ValueError, match="history=3, this optimizer has 5"):
        ss.LBFGS(tree, backend=backend, history=5).load_state_dict(good)
    with pytest.raises(
        ValueError, match=r"s in the state dict has shape \(3, 8\); expected \(3, 2\)"
    ):
        ss.LBFGS(on(backend, np.zeros(2)), backend=backend, history=3).load_state_dict(good)
    for name, wrong, message in [
        ("order", [0, 0, 1], "order must be the slots"),
        ("order", None, "order must be the slots .*not None"),
        (
            "options",
            {**good["options"], "momentum": 1},
            "options in the state dict must be a dict with",
        ),
        ("options", 3, "options in the state dict must be a dict with .*not 3"),
        ("iterations", "5", "iterations in the state dict is '5'; expected a whole number"),
        ("evaluations", -1, "evaluations in the state dict is -1"),
        ("y", "y", "y in the state dict has dtype <U1; expected float64"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            opt.load_state_dict({**good, name: wrong})
    with pytest.raises(TypeError, match="share its parameters"):
        copy.copy(opt)
    opt.save(tmp_path / "run.safetensors")
    with pytest.raises(
        ss.CheckpointError, match=r"other parameters than were given.*a history is of all"
    ):
        ss.LBFGS.load(tmp_path / "run.safetensors", [on(backend, START)], backend=backend)
    smaller = on(backend, {"a": np.ones(2), "b": [np.ones(5)]})
    with pytest.raises(
        ss.CheckpointError, match=r"shape \(2,\) and dtype float64; saved were \(3,\)"
    ):
        ss.LBFGS.load(tmp_path / "run.safetensors", smaller, backend=backend)
    assert off(backend, smaller)["a"].tolist() == [1, 1]
    with pytest.raises(ss.CheckpointError, match="format version 'lbfgs 1'"):
        ss.Optimizer.load(tmp_path / "run.safetensors", tree, backend=backend)
    ss.Adam(tree, backend=backend).save(tmp_path / "adam.safetensors")
    with pytest.raises(ss.CheckpointError, match="LBFGS reads 'lbfgs 1'"):
        ss.LBFGS.load(tmp_path / "adam.safetensors", tree, backend=backend)
    assert {k: v for k, v in opt.state_dict().items() if k == "order"} == {"order": good["order"]}


def test_a_run_without_a_step_is_kept(backend):
    tree = tree_of(backend)
    opt = ss.LBFGS(tree, backend=backend, max_iter=5)
    other = copy.deepcopy(opt)
    other.load_state_dict(opt.state_dict())
    assert opt.step(closure_of(tree, backend)).iterations == 5


def test_autograd_is_told_that_parameters_are_loaded(tmp_path):
    params = [torch.ones(4, requires_grad=True)]
    ss.LBFGS(params).save(tmp_path / "run.safetensors")
    loss = (params[0] ** 2).sum()
    ss.LBFGS.load(tmp_path / "run.safetensors", params)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_pickle_goes_on_where_its_backend_cannot_run():
    tree = tree_of("numpy")
    opt = ss.LBFGS(tree, backend="numpy", max_iter=5)
    saved = copy.deepcopy({**opt.__getstate__(), "backend": "of another package"})
    other = ss.LBFGS.__new__(ss.LBFGS)
    with pytest.warns(UserWarning, match="'of another package'.*; the optimizer goes on with"):
        other.__setstate__(saved)
    assert other.step(closure_of(saved["params"], "numpy")).iterations == 5


def test_a_history_goes_by_the_names_of_parameters(halfway, backend):
    """Where they have another order, a complex one among them, which is two numbers an element."""
    opt, tree = halfway
    values = {key: copy.deepcopy(tree[key]) for key in ("b", "a")}
    other = ss.LBFGS(values, backend=backend, history=3)
    other.load_state_dict(opt.state_dict())
    for _ in range(2):
        for each, own in ((opt, tree), (other, values)):
            each.step(closure_of(own, backend))
        np.testing.assert_allclose(flat(values, backend), flat(tree, backend), rtol=1e-9)
    others = ss.LBFGS({"a": tree["a"], "c": tree["b"]}, backend=backend, history=3)
    with pytest.raises(ValueError, match=r"other names .*only saved: b.0; only given: c.0"):
        others.load_state_dict(opt.state_dict())
    nameless = {name: value for name, value in opt.state_dict().items() if name != "param_names"}
    others.load_state_dict(nameless)  # by position

    pair = {"real": np.ones(3), "complex": np.full(2, 1 - 2j)}
    found = ss.LBFGS(pair, backend="numpy", max_iter=2)
    found.step(lambda: (float(sum((abs(x) ** 4).sum() for x in pair.values())),
                        {name: 4 * abs(x) ** 2 * x for name, x in pair.items()}))  # fmt: skip
    turned = ss.LBFGS({name: pair[name] for name in ("complex", "real")}, backend="numpy")
    turned.load_state_dict(found.state_dict())
    ours, saved = turned.state_dict()["s"], found.state_dict()["s"]
    assert np.array_equal(ours, np.concatenate([saved[:, 3:], saved[:, :3]], axis=1))
