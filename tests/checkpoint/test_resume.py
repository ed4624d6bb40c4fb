"""Interrupted and resumed equals uninterrupted, bit for bit, with everything in play: schedules,
clipping, accumulation, a loss scaler, a mask, skipped steps and parameters that sit out."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, snapshot, step
from samestep import schedules
from samestep.golden.compare import assert_same_bits
from variants import every_variant, fitting, has_bits_of_numpy, options_of

MICRO_STEPS = 30
SHAPES = {"weight": (70, 300), "bias": (300,), "scale": ()}
OTHER = {"numpy": "numba"}  # of all others it is the reference


# clipping inside the launch and 16-bit parameters make more kernels; these rules stand for all
WITH_MORE_KERNELS = {"sgd_momentum", "adamw", "lamb", "adafactor"}


def params_of(rule):
    rng = np.random.default_rng(0)
    half = np.float16 if rule.label in WITH_MORE_KERNELS else np.float32
    dtypes = {"weight": np.float32, "bias": half, "scale": np.float64}
    params = {
        name: np.asarray(rng.standard_normal(shape), dtypes[name]) for name, shape in SHAPES.items()
    }
    return fitting(rule, params)


def gradients(params, micro_step, scale):
    """As a loss multiplied by ``scale`` would give them; at times missing or not finite."""
    rng = np.random.default_rng(100 + micro_step)
    grads = {name: rng.standard_normal(param.shape) * scale for name, param in params.items()}
    grads = {name: np.asarray(grad, params[name].dtype) for name, grad in grads.items()}
    if micro_step % 7 == 0:
        grads["bias"] = None
    if micro_step in (10, 22):
        grads["weight"][3, 4] = np.nan
    return grads


def hyper_of(rule):
    plateau = schedules.reduce_on_plateau(1.0, factor=0.7, patience=0)
    hyper = {
        "lr": schedules.linear_warmup(1.0, 3) * schedules.cosine(0.05, T_max=20) * plateau,
        "clip_global_norm": schedules.exponential(40.0, 0.97),
        "loss_scaler": ss.LossScaler(16.0, growth_interval=2),
        "accumulation_steps": 3,
        **options_of(rule),
    }
    if rule.label in WITH_MORE_KERNELS:
        hyper |= {"clip_value": schedules.linear(2.0, 1.0, 0.5, 10), "clip_norm": 30.0}
    if "weight_decay" in rule.defaults:
        hyper["weight_decay"] = schedules.cosine(0.1, T_max=9)
        hyper["weight_decay_mask"] = {"weight": True, "bias": False, "scale": True}
    if "betas" in rule.defaults:
        first = schedules.linear(0.9, 1.0, 0.8, 6)
        hyper["betas"] = (first, *[0.97] * (len(rule.defaults["betas"]) - 1))
    return hyper


def run(optimizer, first, last):
    params = off(optimizer.backend.name, optimizer.param_groups[0]["params"])
    for micro_step in range(first, last):
        step(optimizer, gradients(params, micro_step, optimizer.loss_scaler.scale))
        (plateau,) = schedules.plateaus(optimizer.param_groups[0]["lr"])
        plateau.observe(1.0 / (1 + micro_step // 8))
    return optimizer


def by_snapshot(optimizer, params, rule, backend, tmp_path):
    params = on(backend, off(optimizer.backend.name, params))
    other = ss.Optimizer(rule.name, params, backend=backend, **hyper_of(rule))
    other.load_state_dict(optimizer.state_dict())
    return other


def by_file(optimizer, params, rule, backend, tmp_path):
    optimizer.save(tmp_path / "checkpoint.safetensors")
    params = on(backend, {name: np.zeros_like(p) for name, p in params_of(rule).items()})
    return ss.Optimizer.load(tmp_path / "checkpoint.safetensors", params, backend=backend)


def uninterrupted(rule, backend):
    params = on(backend, params_of(rule))
    optimizer = ss.Optimizer(rule.name, params, backend=backend, **hyper_of(rule))
    run(optimizer, 0, MICRO_STEPS)
    assert optimizer.skipped_steps == 2
    assert optimizer.steps_taken == MICRO_STEPS // 3 - 2
    assert optimizer.loss_scaler.scale != 16.0
    params = off(backend, params)
    assert not np.array_equal(params["weight"], params_of(rule)["weight"])
    return params, optimizer


@pytest.mark.parametrize("rule", every_variant(), ids=lambda rule: rule.label)
def test_resumed_is_uninterrupted(rule, any_backend, tmp_path):
    """Interrupted twice, between micro-batches, going on on the other backend each time."""
    expected_params, expected = uninterrupted(rule, any_backend)
    params = on(any_backend, params_of(rule))
    optimizer = ss.Optimizer(rule.name, params, backend=any_backend, **hyper_of(rule))
    run(optimizer, 0, 11)
    other = OTHER.get(any_backend, "numpy")
    ways = [
        (by_snapshot, 11, 19, other if has_bits_of_numpy(rule, any_backend) else any_backend),
        (by_file, 19, MICRO_STEPS, any_backend),
    ]
    for way, first, last, turn in ways:
        optimizer = way(optimizer, optimizer.param_groups[0]["params"], rule, turn, tmp_path)
        assert optimizer.micro_steps == first % 3
        run(optimizer, first, last)
    params = off(any_backend, optimizer.param_groups[0]["params"])
    for name, param in params.items():
        assert_same_bits(param, expected_params[name])
    assert_same(snapshot(optimizer), snapshot(expected))
    assert optimizer.loss_scaler == expected.loss_scaler
    assert optimizer.param_groups[0]["lr"] == expected.param_groups[0]["lr"]
    assert (optimizer.steps_taken, optimizer.skipped_steps) == (
        expected.steps_taken,
        expected.skipped_steps,
    )


@pytest.mark.parametrize(
    "lost",
    ["steps_taken", "accumulated", "micro_steps", "loss_scaler", "weight_decay_mask", "lr"],
)
def test_whatever_a_snapshot_would_lose_is_noticed(lost, tmp_path):
    """The check above has something to find for each thing that is kept."""
    rule = ss.rules.registry["adamw"]
    expected, reference = uninterrupted(rule, "numpy")
    params = params_of(rule)
    optimizer = ss.Optimizer(rule, params, backend="numpy", **hyper_of(rule))
    run(optimizer, 0, 11)
    kept = optimizer.state_dict()
    if lost in ("weight_decay_mask", "lr"):
        kept["param_groups"][0][lost] = {"weight_decay_mask": None, "lr": hyper_of(rule)["lr"]}[
            lost
        ]
    else:
        fresh = ss.Optimizer(rule, params_of(rule), backend="numpy", **hyper_of(rule)).state_dict()
        kept[lost] = fresh[lost]
        if lost == "micro_steps":
            kept["accumulated"] = {}
    other = ss.Optimizer(rule, params, backend="numpy", **hyper_of(rule))
    other.load_state_dict(kept)
    run(other, 11, MICRO_STEPS)
    same = all(np.array_equal(params[name], expected[name]) for name in params)
    assert not (same and other.loss_scaler == reference.loss_scaler)
