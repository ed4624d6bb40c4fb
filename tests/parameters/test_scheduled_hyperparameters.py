"""Schedules as hyperparameters, and weight decay masks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, random_like, refused, snapshot
from samestep import schedules
from variants import every_variant, fitting, options_of

LR = schedules.linear_warmup(1.0, warmup_steps=4) * schedules.cosine(0.1, T_max=9)


def params_of():
    return [np.ones((4, 3), np.float32), np.ones(5, np.float32)]


def steps(optimizer, params, count, first=0):
    for step in range(first, first + count):
        optimizer.step(random_like(params, step))


def test_a_schedule_is_the_same_as_setting_the_value_before_each_step(backend):
    params, plain = params_of(), params_of()
    optimizer = ss.AdamW(
        params, lr=LR, betas=(schedules.linear(0.5, 1.0, 0.4, 5), 0.99), backend=backend
    )
    reference = ss.AdamW(plain, betas=(0.5, 0.99), backend=backend)
    for step in range(12):
        beta1 = schedules.linear(0.5, 1.0, 0.4, 5)(step)
        reference.param_groups[0].update(lr=LR(step), betas=(beta1, 0.99))
        assert optimizer.current_hyperparameters()[0]["lr"] == LR(step)
        grads = random_like(params, step)
        optimizer.step(grads)
        reference.step(grads)
    assert_same(snapshot(optimizer), snapshot(reference))
    assert optimizer.param_groups[0]["lr"] == LR


def test_any_function_of_the_step_will_do(backend):
    param = np.zeros(1)
    optimizer = ss.SGD([param], lr=lambda step: 10.0**step, backend=backend)
    for expected in (-1, -11, -111):
        optimizer.step([np.ones(1)])
        assert param[0] == expected


@pytest.mark.parametrize("rule", every_variant(), ids=lambda rule: rule.label)
def test_every_hyperparameter_of_every_rule_may_be_scheduled(rule, backend):
    """A constant schedule has the bits of the number."""
    usual = {**rule.defaults, **options_of(rule)}
    scheduled = {
        name: tuple(map(schedules.constant, v)) if isinstance(v, tuple) else schedules.constant(v)
        for name, v in rule.defaults.items()
        if name not in rule.options.keys() - rule.choices.keys() and not isinstance(v, bool)
    }
    if rule.options.get("momentum"):
        scheduled["momentum"] = schedules.constant(0.9)
    params, plain = fitting(rule, params_of()), fitting(rule, params_of())
    ours = ss.Optimizer(rule.name, params, backend=backend, **{**usual, **scheduled})
    reference = ss.Optimizer(rule.name, plain, backend=backend, **usual)
    steps(ours, params, 2)
    steps(reference, plain, 2)
    assert_same(snapshot(ours), snapshot(reference))


def test_limits_of_clipping_may_be_scheduled(backend):
    param = np.zeros(1)
    falling = schedules.linear(8.0, 1.0, 0.25, 3)
    optimizer = ss.SGD(
        [param], lr=1.0, clip_norm=falling, clip_global_norm=falling, backend=backend
    )
    optimizer.step([np.full(1, 100.0)])
    assert param[0] == -8.0
    optimizer.step([np.full(1, 100.0)])
    assert param[0] == -8.0 - falling(1)


def test_momentum_that_begins_at_zero_has_its_buffer(backend):
    rising = schedules.constant(0.0).then(0.9, after=2)
    params = params_of()
    optimizer = ss.SGD(params, lr=0.1, momentum=rising, backend=backend)
    steps(optimizer, params, 4)
    assert list(optimizer.state[0]) == ["momentum_buffer"]


def test_steps_that_are_skipped_do_not_advance_a_schedule(backend):
    param = np.zeros(1)
    optimizer = ss.SGD([param], lr=lambda step: step + 1.0, skip_nonfinite=True, backend=backend)
    for grad in (1.0, np.nan, 1.0):
        optimizer.step([np.full(1, grad)])
    assert param[0] == -3.0
    optimizer.accumulation_steps = 2
    for _ in range(2):
        optimizer.step([np.ones(1)])
    assert param[0] == -6.0


def test_a_plateau_lowers_the_rate(backend):
    param = np.zeros(1)
    optimizer = ss.SGD(
        [param], lr=schedules.reduce_on_plateau(1.0, factor=0.5, patience=0), backend=backend
    )
    for loss in (3.0, 3.0, 2.0, 2.0):
        optimizer.step([np.ones(1)])
        optimizer.param_groups[0]["lr"].observe(loss)
    assert optimizer.current_hyperparameters()[0]["lr"] == 0.25
    assert param[0] == -(1 + 1 + 0.5 + 0.5)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on_with_schedules_of_their_own(again, backend):
    params = params_of()
    optimizer = ss.SGD(
        params, lr=LR * schedules.reduce_on_plateau(1.0, factor=0.5, patience=0), backend=backend
    )
    steps(optimizer, params, 3)
    (plateau,) = schedules.plateaus(optimizer.param_groups[0]["lr"])
    plateau.observe(1.0)
    other = again(optimizer)
    (theirs,) = schedules.plateaus(other.param_groups[0]["lr"])
    assert theirs == plateau
    theirs.observe(1.0)
    assert theirs != plateau
    other = again(optimizer)
    steps(optimizer, params, 3, first=3)
    steps(other, params, 3, first=3)
    assert_same(snapshot(other), snapshot(optimizer))


@pytest.mark.parametrize(
    ("lr", "error", "message"),
    [
        (lambda step: -1.0, ValueError, r"lr must be in \[0, inf\), not -1"),
        (lambda step: "fast", TypeError, "lr must be a number, not 'fast'"),
        (lambda step: np.nan, ValueError, "lr must be finite, not nan"),
    ],
)
def test_a_schedule_with_a_wrong_value_is_refused_before_anything_changes(
    lr, error, message, backend
):
    with pytest.raises(error, match=message):
        ss.SGD(params_of(), lr=lr, backend=backend)
    params = params_of()
    optimizer = ss.SGD(params, lr=lambda step: 0.1 if step < 2 else lr(step), backend=backend)
    steps(optimizer, params, 2)
    with refused(optimizer, error, message):
        steps(optimizer, params, 1)


# ---- weight decay masks


def masked(mask, backend, **hyper):
    params = {"weight": np.ones((4, 3), np.float32), "bias": np.ones(5, np.float32)}
    return params, ss.AdamW(
        params, weight_decay=0.5, lr=0.1, weight_decay_mask=mask, backend=backend, **hyper
    )


@pytest.mark.parametrize(
    "mask", [lambda name, param: param.ndim > 1, {"weight": True, "bias": np.bool_(False)}]
)
def test_a_mask_is_the_same_as_a_group_without_decay(mask, backend):
    params, optimizer = masked(mask, backend)
    weight, bias = np.ones((4, 3), np.float32), np.ones(5, np.float32)
    groups = [{"params": weight}, {"params": bias, "weight_decay": 0.0}]
    reference = ss.AdamW(groups, weight_decay=0.5, lr=0.1, backend=backend)
    for step in range(4):
        grads = random_like([weight, bias], step)
        optimizer.step(dict(zip(params, grads, strict=True)))
        reference.step(grads)
    assert_same(snapshot(optimizer), snapshot(reference))
    (bucket,) = optimizer._run.stepping._work.updates  # still one launch
    assert len(bucket.keys) == 2


def test_a_mask_is_kept_by_snapshots_and_copies(backend):
    mask = {"weight": True, "bias": False}
    params, optimizer = masked(mask, backend)
    assert optimizer.state_dict()["param_groups"][0]["weight_decay_mask"] == [True, False]
    for other in (copy.deepcopy(optimizer), masked(None, backend)[1]):
        other.load_state_dict(optimizer.state_dict())
        grads = {name: np.zeros_like(param) for name, param in params.items()}
        other.step(grads)
        moved = other.param_groups[0]["params"]
        assert (moved["weight"] < 1).all()
        assert (moved["bias"] == 1).all()


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ({"weight": 1, "bias": True}, TypeError, r"params\['weight'\] must be a bool, not 1"),
        ({"weight": True}, ValueError, r"weight_decay_mask does not match .* missing \['bias'\]"),
        (
            [True, False],
            TypeError,
            "weight_decay_mask must be a dict like the parameters, not list",
        ),
        (lambda name, param: None, TypeError, r"params\['weight'\] must be a bool, not None"),
    ],
)
def test_wrong_masks_are_refused(mask, error, message, backend):
    with pytest.raises(error, match=message):
        masked(mask, backend)


def test_a_rule_without_decay_has_nothing_to_mask(backend):
    scalars = lambda xp, step, carry, h: (dict(lr=h.lr), carry)  # noqa: E731
    rule = ss.Rule("plain", scalars, lambda xp, s, param, grad: param - s.lr * grad, dict(lr=0.1))
    with pytest.raises(
        TypeError, match="plain has no weight_decay that weight_decay_mask could mask"
    ):
        ss.Optimizer(rule, [np.ones(3)], weight_decay_mask=[True], backend=backend)
