"""`eval` and `train` of rules that evaluate another point than they train."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, leaves, off, on, refused, snapshot, step
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype

RULES = ["sgd_schedulefree", "adamw_schedulefree", "radam_schedulefree"]
SHAPES = [(5, 7), (3,), ()]


def arrays(seed: int, dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape)).astype(numpy_dtype(dtype)) for shape in SHAPES]


def trained(rule: str, backend: str, steps: int = 8, dtype: str = "float32") -> ss.Optimizer:
    optimizer = ss.Optimizer(rule, on(backend, arrays(0, dtype)), lr=0.1, backend=backend)
    for seed in range(steps):
        step(optimizer, arrays(seed + 1, dtype))
    return optimizer


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_modes_have_the_same_bits_on_every_backend(rule, dtype, any_other_backend):
    ours, theirs = (trained(rule, name, dtype=dtype) for name in ("numpy", any_other_backend))
    before, bound = snapshot(ours), dict(float32=1e-6, float64=1e-14, bfloat16=0.0)[dtype]
    for change in ("eval", "train"):
        for optimizer in (ours, theirs):
            getattr(optimizer, change)()
            getattr(optimizer, change)()  # does nothing
        assert_same(snapshot(theirs), snapshot(ours))
        now, then = (found["param 0"].astype(np.float64) for found in (snapshot(ours), before))
        moved = np.abs(now - then).max()
        if change == "eval" or bound:  # bfloat16 has too few digits to return
            assert (moved > bound) == (change == "eval")


@pytest.mark.parametrize("codec", ["bfloat16", "int8", "int4", "dynamic8"])
@pytest.mark.parametrize("rule", RULES)
def test_states_of_fewer_bits_have_both_modes(rule, codec, any_backend):
    """z stays in the compute dtype: what a step changes in it is less than its digits in fewer
    bits."""
    params, grads = arrays(0), arrays(1)
    optimizer = ss.Optimizer(
        rule, on(any_backend, params), lr=1e-3, backend=any_backend, state_dtype=codec
    )
    step(optimizer, grads)
    optimizer.eval()
    averaged = snapshot(optimizer)
    assert all(np.abs(averaged[f"param {i}"] - averaged[f"z {i}"]).max() < 1e-6 for i in range(3))
    optimizer.train()
    step(optimizer, grads)
    assert snapshot(optimizer)["z 0"].dtype == np.float32


def test_what_is_evaluated_is_the_average_of_the_steps(backend):
    """SGD's first steps, by hand: z goes down, x is the mean of z, y lies between them."""
    param, grads = np.array([1.0, -2.0]), [np.array([0.5, 1.0]), np.array([-1.0, 0.25])]
    optimizer = ss.SGDScheduleFree([param], lr=0.1, momentum=0.9, backend=backend)
    optimizer.eval()
    assert param.tolist() == [1.0, -2.0]  # nothing was averaged yet
    optimizer.train()
    z, average = param.copy(), np.zeros(2)
    for number, grad in enumerate(grads, 1):
        optimizer.step([grad])
        z = z - 0.1 * grad
        average = average + (z - average) / number
        np.testing.assert_allclose(param, 0.9 * average + 0.1 * z, rtol=1e-14)
        optimizer.eval()
        np.testing.assert_allclose(param, average, rtol=1e-14)
        optimizer.train()


@pytest.mark.parametrize("rule", RULES)
def test_no_step_is_taken_from_an_average(rule, any_backend):
    optimizer = trained(rule, any_backend)
    optimizer.eval()
    with refused(optimizer, RuntimeError, r"opt\.train\(\) makes them those of training"):
        step(optimizer, arrays(9))
    optimizer.train()
    step(optimizer, arrays(9))


def test_other_rules_have_no_modes(any_backend):
    optimizer = ss.AdamW(on(any_backend, arrays(0)), backend=any_backend)
    for change in (optimizer.eval, optimizer.train):
        with refused(optimizer, TypeError, "adamw keeps no average"):
            change()


@pytest.mark.parametrize("evaluating", [False, True])
def test_a_checkpoint_keeps_the_mode(evaluating, any_backend, tmp_path):
    optimizer = trained("adamw_schedulefree", any_backend)
    if evaluating:
        optimizer.eval()
    optimizer.save(tmp_path / "run.safetensors")
    params = on("numpy", arrays(8))
    loaded = ss.AdamWScheduleFree.load(tmp_path / "run.safetensors", params, backend="numpy")
    again = pickle.loads(pickle.dumps(loaded))
    restored = ss.Optimizer("adamw_schedulefree", [p.copy() for p in params], backend="numpy")
    restored.load_state_dict(optimizer.state_dict())
    for each in (loaded, again, restored):
        if evaluating:
            with pytest.raises(RuntimeError, match="averages"):
                each.step(arrays(9))
            each.train()
        each.step(arrays(9))
    optimizer.train()
    step(optimizer, arrays(9))
    for each in (loaded, again, restored):
        assert_same(snapshot(each), snapshot(optimizer))


def test_reset_and_parameters_without_steps_and_frozen_ones(any_backend):
    params = on(any_backend, arrays(0))
    groups = [{"params": params[:1]}, {"params": params[1:], "rule": "adamw_schedulefree"}]
    optimizer = ss.Optimizer("adamw_schedulefree", groups, lr=0.1, backend=any_backend)
    grads = on(any_backend, arrays(1))
    optimizer.step([[grads[0]], [None, grads[2]]])
    optimizer.step([[grads[0]], [None, grads[2]]])
    optimizer.param_groups[0]["frozen"] = True
    before = off(any_backend, leaves(optimizer))
    optimizer.eval()
    after = off(any_backend, leaves(optimizer))
    assert [bool((a != b).any()) for a, b in zip(before, after, strict=True)] == [True, False, True]
    optimizer.reset()
    optimizer.step([[grads[0]], [grads[1], grads[2]]])


def test_an_infinite_parameter_stays_in_either_mode(any_backend):
    param = np.array([np.inf, 1.0, -np.inf], np.float32)
    params = on(any_backend, [param])
    optimizer = ss.Optimizer("sgd_schedulefree", params, backend=any_backend)
    for _ in range(2):
        step(optimizer, [np.ones(3, np.float32)])
    for change in (optimizer.eval, optimizer.train):
        change()
        assert off(any_backend, params)[0][[0, 2]].tolist() == [np.inf, -np.inf]


def test_of_groups_with_several_rules_those_that_average_change(any_backend):
    params = on(any_backend, arrays(0))
    groups = [{"params": params[:1], "rule": "sgd"}, {"params": params[1:]}]
    optimizer = ss.Optimizer("adamw_schedulefree", groups, lr=0.1, backend=any_backend)
    for seed in (1, 2):
        grads = on(any_backend, arrays(seed))
        optimizer.step([grads[:1], grads[1:]])
    before = off(any_backend, leaves(optimizer))
    optimizer.eval()
    after = off(any_backend, leaves(optimizer))
    assert [bool((a != b).any()) for a, b in zip(before, after, strict=True)] == [False, True, True]
    assert [g.get("evaluating") for g in optimizer.state_dict()["param_groups"]] == [None, True]


@pytest.mark.parametrize("rule", RULES)
def test_parameters_that_are_not_contiguous_change_with_the_mode_too(rule, any_backend):
    if any_backend == "doubled":
        pytest.skip("PyTorch copies back at once, before the double's kernel has run")
    grads = [np.random.default_rng(seed).standard_normal((6, 4)) for seed in range(8)]
    found = []
    for transposed in (False, True):
        start = np.ones((4, 6)).T if transposed else np.ones((6, 4))
        param = (
            on(any_backend, np.ascontiguousarray(start.T)).T
            if transposed
            else on(any_backend, start)
        )
        optimizer = ss.Optimizer(rule, [param], lr=0.1, backend=any_backend)
        for grad in grads:
            step(optimizer, [grad])
        found.append([])
        for change in (optimizer.eval, optimizer.train):
            change()
            found[-1] += off(any_backend, [param])
    for plain, own in zip(*found, strict=True):
        assert first_difference(np.ascontiguousarray(own), plain) is None
    assert first_difference(*found[0]) is not None
