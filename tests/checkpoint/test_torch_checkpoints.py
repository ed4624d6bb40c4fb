"""State dicts between torch.optim, our torch classes and every backend."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import samestep as ss
import samestep.torch as ours
import torch
from samestep.golden.compare import assert_same_bits
from variants import every_variant, fitting, options_of

TOLERANCE = 1e-12  # of the largest entry
SHAPES = [(4, 3), (5,), (), (2, 3, 2)]
CONFIGURATIONS = {
    "SGD": dict(lr=0.1, weight_decay=0.1),
    "SGD-momentum": dict(lr=0.1, momentum=0.9, dampening=0.3),
    "SGD-nesterov": dict(lr=0.1, momentum=0.9, nesterov=True),
    "Adam": dict(weight_decay=0.1),
    "Adam-amsgrad": dict(amsgrad=True),
    "AdamW": dict(lr=0.1, betas=(0.8, 0.9)),
    "AdamW-amsgrad": dict(amsgrad=True, maximize=True),
    "RMSprop": dict(alpha=0.9),
    "RMSprop-all": dict(momentum=0.8, centered=True, weight_decay=0.1),
    "Adagrad": dict(initial_accumulator_value=0.5, lr_decay=0.1),
    "Adadelta": dict(rho=0.8),
    "Adamax": dict(weight_decay=0.1),
    "NAdam": dict(weight_decay=0.1),
    "NAdam-decoupled": dict(weight_decay=0.1, decoupled_weight_decay=True),
    "RAdam": dict(betas=(0.8, 0.9)),
    "RAdam-decoupled": dict(weight_decay=0.1, decoupled_weight_decay=True),
    "Rprop": dict(lr=0.01),
    "ASGD": dict(t0=3, lambd=0.1),
    "SparseAdam": dict(lr=0.1, betas=(0.8, 0.9)),
}


@pytest.fixture
def _float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam and ASGD keep scalars in the default dtype
    yield
    torch.set_default_dtype(before)


def fresh(dtypes=None):
    rng = np.random.default_rng(0)
    dtypes = dtypes or [np.float64] * len(SHAPES)
    return [np.array(rng.standard_normal(s), d) for s, d in zip(SHAPES, dtypes, strict=True)]


def tensors(arrays):
    return [torch.from_numpy(a).requires_grad_() for a in arrays]


def gradients(arrays, step):
    """Random ones; the second parameter gets its first at step 4, the third sits out at times."""
    rng = np.random.default_rng(100 + step)
    found = [np.array(rng.standard_normal(a.shape), a.dtype) for a in arrays]
    found[1] = None if step < 4 else found[1]
    found[2] = None if step % 3 == 1 else found[2]
    return found


def run(optimizer, arrays, first, last):
    """Steps of an optimizer of torch's kind whose parameters lie over ``arrays``."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(first, last):
        for param, grad in zip(params, gradients(arrays, step), strict=True):
            param.grad = None if grad is None else torch.from_numpy(grad)
            if type(optimizer) is torch.optim.SparseAdam and grad is not None:
                param.grad = param.grad.to_sparse(min(1, param.ndim))
        optimizer.step()


def saved_and_read(state_dict):
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def relative_difference(mine, theirs):
    assert all(np.isfinite(a).all() for a in mine)
    return max(
        np.abs(a - b).max() / (np.abs(b).max() or 1.0) for a, b in zip(mine, theirs, strict=True)
    )


def moved(first_class, second_class, options, second_options=None):
    """Parameters after 4 steps of one class and 6 of another that goes on from its state."""
    arrays = fresh()
    first = first_class(tensors(arrays), **options)
    run(first, arrays, 0, 4)
    second = second_class(tensors(arrays), **(second_options or options))
    second.load_state_dict(saved_and_read(first.state_dict()))
    run(second, arrays, 4, 10)
    return arrays


def uninterrupted(optimizer_class, options):
    arrays = fresh()
    run(optimizer_class(tensors(arrays), **options), arrays, 0, 10)
    return arrays


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_state_dict_of_torch_s_loads_here_and_ours_there(case):
    name, options = case.partition("-")[0], CONFIGURATIONS[case]
    torch_s, our = getattr(torch.optim, name), getattr(ours, name)
    expected = uninterrupted(torch_s, options)
    assert relative_difference(moved(torch_s, our, options), expected) <= TOLERANCE
    assert relative_difference(moved(our, torch_s, options), expected) <= TOLERANCE
    for array, other in zip(moved(our, our, options), uninterrupted(our, options), strict=True):
        assert_same_bits(array, other)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_control_a_state_that_is_lost_is_noticed(case):
    name, options = case.partition("-")[0], CONFIGURATIONS[case]
    if case == "SGD":  # has none
        return
    our, arrays = getattr(ours, name), fresh()
    run(our(tensors(arrays), **options), arrays, 0, 4)
    run(our(tensors(arrays), **options), arrays, 4, 10)
    assert relative_difference(arrays, uninterrupted(our, options)) > 1e-6


@pytest.mark.usefixtures("_float64")
def test_hyperparameters_are_those_of_the_state_dict():
    """As torch has it, also where they decide about state; which implementation runs is not."""
    options = dict(lr=0.05, amsgrad=True, weight_decay=0.3)
    for first, second in ((torch.optim.AdamW, ours.AdamW), (ours.AdamW, torch.optim.AdamW)):
        arrays = moved(first, second, options, dict(lr=1.0))
        assert relative_difference(arrays, uninterrupted(first, options)) <= TOLERANCE
    one, other = (ours.AdamW(tensors(fresh()), foreach=foreach) for foreach in (True, False))
    one.load_state_dict(other.state_dict())
    assert one.param_groups[0]["foreach"] is True
    assert one.backend.name == "torch:foreach"


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_state_dict_of_torch_s_loads_into_an_optimizer_of_arrays(case, backend):
    name, options = case.partition("-")[0], CONFIGURATIONS[case]
    arrays = fresh()
    theirs = getattr(torch.optim, name)(tensors(arrays), **options)
    run(theirs, arrays, 0, 4)
    mine = getattr(ss, name)(arrays, backend=backend, **options)
    mine.load_state_dict(theirs.state_dict())
    for step in range(4, 10):
        mine.step(gradients(arrays, step))
    expected = uninterrupted(getattr(torch.optim, name), options)
    assert relative_difference(arrays, expected) <= TOLERANCE


def test_torch_s_adafactor_is_another_algorithm_and_refused():
    """Its state has other names, and decay and epsilons other meanings."""
    for options in ({}, dict(eps=(1e-30, 1e-3))):
        arrays = fresh()
        theirs = torch.optim.Adafactor(tensors(arrays), **options)
        run(theirs, arrays, 0, 1)
        for mine in (ours.Adafactor(tensors(arrays)), ss.Adafactor(arrays)):
            with pytest.raises((TypeError, ValueError), match=r"eps\[0\]|expected .*exp_avg_sq"):
                mine.load_state_dict(theirs.state_dict())


CHAIN = ["numpy", "torch:foreach", "numba", "torch:fused", "torch:forloop", "torch"]


@pytest.mark.parametrize("rule", every_variant(), ids=lambda rule: rule.label)
def test_a_state_goes_from_backend_to_backend_bit_for_bit(rule):
    """`samestep.Optimizer` and the torch class in turn, each on the next backend."""
    dtypes = [np.float32, np.float64, np.float32, np.float16]
    expected = fitting(rule, fresh(dtypes))
    options = dict(options_of(rule), warn_lost_updates=False)
    alone = ss.Optimizer(rule.name, expected, backend="numpy", **options)
    for step in range(12):
        alone.step(gradients(expected, step))
    arrays, snapshot = fitting(rule, fresh(dtypes)), None
    for turn, backend in enumerate(CHAIN):
        steps = 2 * turn, 2 * turn + 2
        if turn % 2:
            last = ours.Optimizer(rule.name, tensors(arrays), backend=backend, **options)
            last.load_state_dict(snapshot)
            run(last, arrays, *steps)
        else:
            last = ss.Optimizer(rule.name, arrays, backend=backend, **options)
            if snapshot is not None:
                last.load_state_dict(snapshot)
            for step in range(*steps):
                last.step(gradients(arrays, step))
        snapshot = last.state_dict()
    for array, other in zip(arrays, expected, strict=True):
        assert_same_bits(array, other)
    for i, entry in alone.state_dict()["state"].items():
        for name, value in entry.items():
            counted = name in ("step", *rule.carry)
            expected_value = np.array(value, dtype=float) if counted else value
            assert_same_bits(torch.as_tensor(snapshot["state"][i][name]).numpy(), expected_value)


def test_sixteen_bit_state_of_torch_s_loads_exactly():
    param = torch.ones(7, dtype=torch.bfloat16, requires_grad=True)
    theirs = torch.optim.Adam([param])
    param.grad = torch.linspace(-1, 1, 7, dtype=torch.bfloat16)
    theirs.step()
    mine = ours.Adam([param])
    mine.load_state_dict(theirs.state_dict())
    for name in ("exp_avg", "exp_avg_sq"):
        assert theirs.state[param][name].dtype == torch.bfloat16
        assert mine.state[param][name].dtype == torch.float32
        assert torch.equal(mine.state[param][name], theirs.state[param][name].float())


def test_momentum_that_has_become_zero_keeps_its_buffer():
    arrays, whole = fresh(), fresh()
    first, alone = (ours.SGD(tensors(a), lr=0.1, momentum=0.9) for a in (arrays, whole))
    run(first, arrays, 0, 3)
    run(alone, whole, 0, 3)
    for optimizer in (first, alone):
        optimizer.param_groups[0]["momentum"] = 0.0
    second = ours.SGD(tensors(arrays), lr=0.1)
    second.load_state_dict(saved_and_read(first.state_dict()))
    for optimizer, mine in ((second, arrays), (alone, whole)):
        run(optimizer, mine, 3, 6)
        optimizer.param_groups[0]["momentum"] = 0.5
        run(optimizer, mine, 6, 9)
    for array, other in zip(arrays, whole, strict=True):
        assert_same_bits(array, other)


@pytest.mark.parametrize(
    ("name", "other"), [("AdamW", "Adam"), ("Adam", "AdamW"), ("Adam", "LAMB"), ("Lion", "Signum")]
)
def test_a_state_dict_of_another_rule_is_refused(name, other):
    """Their states have the same names and shapes."""
    arrays = fresh()
    first, second = getattr(ours, name)(tensors(arrays)), getattr(ours, other)(tensors(arrays))
    run(first, arrays, 0, 3)
    snapshot = saved_and_read(first.state_dict())
    with pytest.raises(ValueError, match=f"rule '{first.rule.name}'; this is '{second.rule.name}'"):
        second.load_state_dict(snapshot)
    assert not second.state
    getattr(ours, name)(tensors(arrays)).load_state_dict(snapshot)


def spoiled():
    def change(**entries):
        return lambda snapshot: snapshot["state"][0].update(entries)

    def group(**entries):
        return lambda snapshot: snapshot["param_groups"][0].update(entries)

    def anothers(snapshot):  # in that of AdamW it would be somebody else's own
        change(momentum_buffer=torch.ones(4, 3))(snapshot)
        group(momentum=0.9)(snapshot)

    yield "no groups", lambda s: s.pop("param_groups"), TypeError, "'state' and 'param_groups'"
    yield "more groups", lambda s: s["param_groups"].append({}), ValueError, "has 2 groups"
    yield (
        "fewer parameters",
        lambda s: s["param_groups"][0]["params"].pop(),
        ValueError,
        "expected 4",
    )
    yield "no step", lambda s: s["state"][0].pop("step"), ValueError, r"params\[0\]: has"
    yield "another's state", anothers, ValueError, "momentum_buffer"
    yield "half a step", change(step=torch.tensor(1.5)), ValueError, "whole number"
    yield "two steps", change(step=torch.ones(2)), TypeError, "expected a number"
    yield "shape", change(exp_avg=torch.ones(3, 4)), ValueError, r"exp_avg .* shape \(3, 4\)"
    yield "dtype", change(exp_avg=torch.ones(4, 3).long()), TypeError, "int64"
    yield "complex", change(exp_avg=torch.ones(4, 3) * 1j), TypeError, "complex"
    yield "no array", change(exp_avg="x"), TypeError, "expected a tensor"
    yield "lr", group(lr=-1.0), ValueError, "lr must be"
    yield "schedule", group(lr=lambda step: 1.0), TypeError, "lr must be a number"
    yield "Adam's", group(decoupled_weight_decay=False), ValueError, "not adamw"
    yield "frozen", group(frozen=True), ValueError, "frozen, which only samestep.Optimizer"
    yield "clipping", lambda s: s.update(clip_global_norm=1.0), ValueError, "clip_global_norm"
    yield "another rule", lambda s: s.update(rule="sgd"), ValueError, "'sgd'; this is 'adamw'"


@pytest.mark.parametrize(
    ("spoil", "error", "message"), [pytest.param(*c[1:], id=c[0]) for c in spoiled()]
)
def test_a_state_dict_that_does_not_fit_changes_nothing(spoil, error, message):
    arrays = fresh()
    optimizer = ours.AdamW(tensors(arrays))
    run(optimizer, arrays, 0, 4)
    before = copy.deepcopy(optimizer.state_dict())
    wrong = copy.deepcopy(optimizer.state_dict())
    spoil(wrong)
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(wrong)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert after["state"].keys() == before["state"].keys()
    for i, entry in before["state"].items():
        assert after["state"][i].keys() == entry.keys()
        for name, value in entry.items():
            assert_same_bits(after["state"][i][name].numpy(), value.numpy())
