"""What a step on a CUDA device does not do: wait for the device, launch more than once a pass,
count a step before it is decided."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from conftest import UNDER_TEST, needs_double
from cupy_steps import Counts, grads, pair, start
from helpers import assert_same, on, refused, snapshot

pytestmark = pytest.mark.skipif("cupy" not in UNDER_TEST, reason="cupy is not under test")
if "cupy" in UNDER_TEST:
    import cupy
    from cuda.bindings import driver
    from samestep.backends.cuda import launch as cuda_launch
    from samestep.backends.cuda import staging


def waits(monkeypatch):
    return [
        Counts(monkeypatch, driver, "cuEventSynchronize"),
        Counts(monkeypatch, cupy.cuda.Stream, "synchronize"),
        Counts(monkeypatch, cupy.ndarray, "get"),
        Counts(monkeypatch, cupy.cuda.Device, "synchronize"),
    ]


@pytest.mark.parametrize("rule", ["adamw", "lamb", "adafactor"])
@needs_double
def test_a_step_does_not_wait_for_the_device(rule, monkeypatch):
    reference, ours = pair(rule)
    there = [on("cupy", grads(seed)) for seed in range(staging.SLOTS)]
    counts = waits(monkeypatch)
    for seed, grad in enumerate(there):
        ours.step(grad)
        reference.step(grads(seed))
    assert [c.count for c in counts] == [0, 0, 0, 0]
    assert_same(snapshot(ours), snapshot(reference))
    assert sum(c.count for c in counts) > 0


@pytest.mark.parametrize("hyper", [dict(skip_nonfinite=True), dict(clip_global_norm=1.0)])
@needs_double
def test_a_step_that_may_be_skipped_is_asked_for_before_the_next_one(hyper, monkeypatch):
    """One wait a step, for what was enqueued a step ago."""
    reference, ours = pair("adamw", **hyper)
    steps = [grads(seed) for seed in range(4)]
    steps[1][0][3, 4] = np.nan
    there = on("cupy", steps)
    event, *others = waits(monkeypatch)
    for number, grad in enumerate(there):
        ours.step(grad)
        reference.step(steps[number])
        assert event.count == number
    assert not any(c.count for c in others)
    assert (ours.steps_taken, ours.skipped_steps, ours.skipped) == (3, 1, False)
    assert ours.grad_norm == reference.grad_norm
    assert_same(snapshot(ours), snapshot(reference))


def test_a_step_that_failed_does_not_count_for_the_scaler(monkeypatch):
    scaler = ss.LossScaler(8.0, growth_interval=1)
    optimizer = ss.AdamW(on("cupy", start()), loss_scaler=scaler)

    def fails(self, tensors, positions):
        raise RuntimeError("no kernel")

    there = on("cupy", grads(0))
    optimizer.step(there)
    assert scaler.scale == 16.0
    optimizer.param_groups[0]["clip_value"] = 1.0  # another kernel
    monkeypatch.setattr(cuda_launch.CudaLaunch, "bind", fails)
    with refused(optimizer, RuntimeError, "no kernel"):
        optimizer.step(there)
    assert scaler.scale == 16.0


def test_whoever_asks_is_told_at_once():
    """Step counts, the flag and the scale are those of after the step, whatever is asked first."""
    bad = grads(0)
    bad[1][2] = np.inf
    for ask, expected in [
        (lambda o: o.skipped, True),
        (lambda o: o.skipped_steps, 1),
        (lambda o: o.steps_taken, 0),
        (lambda o: o.steps, [0] * 4),
        (lambda o: o.state_dict()["state"][0]["step"], 0),
        (lambda o: o.loss_scaler.scale, 4.0),
        (lambda o: repr(o.loss_scaler)[:20], "LossScaler(scale=4.0"),
    ]:
        optimizer = ss.AdamW(on("cupy", start()), loss_scaler=ss.LossScaler(8.0))
        optimizer.step(on("cupy", bad))
        assert ask(optimizer) == expected


@pytest.mark.parametrize(
    ("rule", "columns", "launches"),
    [("adamw", 4, 1), ("lamb", 4, 3), ("adafactor", 4, 6), ("adafactor", 1025, 11), ("sgd", 4, 1)],
)
@needs_double
def test_one_launch_a_pass_whatever_the_number_of_tensors(rule, columns, launches, monkeypatch):
    """Adafactor's folds are one launch each where every matrix is one tile."""
    count = Counts(monkeypatch, driver, "cuLaunchKernel")
    params = [np.full((3, 4), k, np.float32) for k in range(39)]
    params.append(np.full((3, columns), 39, np.float32))
    groups = [{"params": on("cupy", params[:20])}, {"params": on("cupy", params[20:]), "lr": 0.5}]
    optimizer = ss.Optimizer(rule, groups)
    first = [None, *params[1:20]]  # another step count
    optimizer.step(on("cupy", [first, params[20:]]))
    assert count.count == launches
    optimizer.step(on("cupy", [params[:20], params[20:]]))
    assert count.count == 2 * launches


def test_any_number_of_blocks_has_the_same_bits(monkeypatch):
    results = []
    for blocks in (1, 3, 1000):
        monkeypatch.setattr(cuda_launch, "BLOCKS_PER_PROCESSOR", blocks)
        for rule in ("adamw", "lamb", "adafactor"):
            optimizer = ss.Optimizer(rule, on("cupy", start()))
            optimizer.step(on("cupy", grads(0)))
            results.append((rule, snapshot(optimizer)))
    for rule, found in results[3:]:
        assert_same(found, dict(results[:3])[rule])
