"""Interrupted and resumed equals uninterrupted, bit for bit, whatever the backends before and
after."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import samestep as ss
from checkpoint_cases import assert_equal, emptied
from helpers import leaves, off, on, random_like
from samestep import schedules
from variants import every_variant, fitting, has_bits_of_numpy, options_of

STEPS, INTERRUPTED_AFTER = 6, 3


def params():
    """Two groups; one array has strides, one is 0-d."""
    rng = np.random.default_rng(0)
    first = {"weight": rng.standard_normal((7, 5)).astype(np.float32), "bias": rng.random(6)[::2]}
    return [{"params": first}, {"params": [np.array(0.5, np.float32), rng.random((3, 4))]}]


def step(optimizer, number, changes=None):
    """One step; from the second on with other hyperparameters, and the bias sits out the first."""
    for group in optimizer.param_groups:
        group.update((changes or {}).get(number, {}))
    weight, bias, *second = random_like(leaves(optimizer), number)
    first = {"weight": weight, "bias": None if number == 0 else bias}
    optimizer.step(on(optimizer.backend.name, [first, [np.asarray(g) for g in second]]))


def interrupted(optimizer, path, backend, run):
    """Save, go on with ``run`` and compare with what another process would do."""
    optimizer.save(path)
    host = [off(optimizer.backend.name, group["params"]) for group in optimizer.param_groups]
    groups = [{"params": on(backend, emptied(params))} for params in host]
    resumed = ss.Optimizer.load(path, groups, backend=backend)
    assert_equal(resumed, optimizer)
    for number in range(INTERRUPTED_AFTER, STEPS):
        run(optimizer, number)
        run(resumed, number)
    assert_equal(resumed, optimizer)


def changes_for(rule):
    """Hyperparameters that change after steps 1 and 4, before and after the interruption."""
    lr = rule.defaults.get("lr", 1.0)
    changes = {2: {"lr": lr * 0.7}, 5: {"lr": lr * 1.3, "maximize": True}}
    if "betas" in rule.defaults:
        changes[2]["betas"] = (0.8, 0.7, 0.6)[: len(rule.defaults["betas"])]
    return changes


@pytest.mark.parametrize("rule", every_variant(), ids=lambda rule: rule.label)
def test_a_run_goes_on_on_any_other_backend(rule, any_backend, tmp_path):
    ways = {(any_backend, any_backend)}
    if has_bits_of_numpy(rule, any_backend):
        ways |= {("numpy", any_backend), (any_backend, "numpy")}
    for source, target in ways:
        name = rule.name
        groups = [{"params": fitting(rule, group["params"])} for group in params()]
        optimizer = ss.Optimizer(name, on(source, groups), backend=source, **options_of(rule))
        changes = changes_for(rule)
        for number in range(INTERRUPTED_AFTER):
            step(optimizer, number, changes)
        assert optimizer.steps == [3, 2, 3, 3]
        path = tmp_path / f"{source}.safetensors"
        interrupted(optimizer, path, target, lambda o, n, c=changes: step(o, n, c))


def everything(backend):
    """Schedules, clipping, a mask, accumulation and the loss scaler at once."""
    lr = schedules.linear_warmup(0.1, 2).then(schedules.cosine(0.1, 10), after=2)
    plateau = schedules.reduce_on_plateau(0.9, patience=0, factor=0.5, mode="max")
    return ss.AdamW(
        on(backend, params()),
        lr=lr,
        betas=(plateau, 0.99),
        clip_global_norm=schedules.exponential(2.0, 0.9),
        accumulation_steps=2,
        loss_scaler=ss.LossScaler(scale=8.0, growth_interval=2),
        weight_decay_mask=lambda name, param: param.ndim > 1,
        backend=backend,
    )


def micro_step(optimizer, number):
    """One of two micro-batches; that of number 3, after the interruption, is not finite, and the
    plateau sees that nothing improves."""
    weight, bias, scalar, last = random_like(leaves(optimizer), number)
    scale = np.float32(optimizer.loss_scaler.scale)
    if number == 3:
        weight[0, 0] = np.inf
    first = {"weight": weight * scale, "bias": bias * scale}
    second = [np.asarray(scalar * scale), last * scale]
    optimizer.step(on(optimizer.backend.name, [first, second]))
    if number % 2:
        seen = {id(g["betas"][0]): g["betas"][0] for g in optimizer.param_groups}
        for plateau in seen.values():
            plateau.observe(1.0)


def test_schedules_clipping_accumulation_and_loss_scaler_go_on(any_backend, tmp_path):
    for source, target in {("numpy", any_backend), (any_backend, "numpy")}:
        optimizer = everything(source)
        for number in range(INTERRUPTED_AFTER):
            micro_step(optimizer, number)
        assert optimizer.micro_steps == 1  # in the middle of an accumulation
        started = copy.deepcopy(off(source, leaves(optimizer)))
        interrupted(optimizer, tmp_path / "run.safetensors", target, micro_step)
        assert (optimizer.steps_taken, optimizer.skipped_steps) == (2, 1)
        assert optimizer.param_groups[0]["betas"][0](0) < 0.9
        now = off(source, leaves(optimizer))
        assert not any((a == b).all() for a, b in zip(now, started, strict=True))


def test_a_schedule_that_groups_share_is_shared_after_loading(tmp_path):
    """One call of observe reaches all groups, before and after."""
    plateau = schedules.reduce_on_plateau(0.5, patience=0)
    optimizer = ss.SGD(params(), lr=plateau, backend="numpy")
    step(optimizer, 0)
    optimizer.save(tmp_path / "run.safetensors")
    other = ss.Optimizer.load(tmp_path / "run.safetensors", params(), backend="numpy")
    first, second = (group["lr"] for group in other.param_groups)
    assert first == plateau
    assert first is second
    other.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "run.safetensors"
    ).read_bytes()
