"""What a step on a CUDA device does not do: wait for the device, launch more than once a pass,
count a step before it is decided, allocate anything that a replay would miss."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from conftest import UNDER_TEST, needs_double
from helpers import assert_same, on, random_like, refused, snapshot
from samestep.golden.compare import assert_same_bits

pytestmark = pytest.mark.skipif("cupy" not in UNDER_TEST, reason="cupy is not under test")
if "cupy" in UNDER_TEST:
    import cupy
    from samestep.backends.cupy import launch as cupy_launch
    from samestep.backends.cupy import staging
    from samestep.backends.cupy.backend import CupyBackend

SHAPES = [(300, 7), (5,), (), (70_001,)]


def start():
    rng = np.random.default_rng(0)
    return [np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES]


def pair(rule, **hyper):
    """The same optimizer on NumPy and on the device."""
    return [
        ss.Optimizer(rule, on(name, start()), backend=name, **hyper) for name in ("numpy", "cupy")
    ]


def grads(seed):
    return [np.asarray(g) for g in random_like(start(), seed)]


class Counts:
    """How often something of CuPy is called."""

    def __init__(self, monkeypatch, owner, name):
        self.count = 0
        original = getattr(owner, name)

        def counted(*args, **kwargs):
            self.count += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)


def waits(monkeypatch):
    return [
        Counts(monkeypatch, cupy.cuda.Event, "synchronize"),
        Counts(monkeypatch, cupy.cuda.Stream, "synchronize"),
        Counts(monkeypatch, cupy.ndarray, "get"),
        Counts(monkeypatch, cupy.cuda.Device, "synchronize"),
    ]


@pytest.mark.parametrize("rule", ["adamw", "lamb", "adafactor"])
@needs_double
def test_a_step_does_not_wait_for_the_device(rule, monkeypatch):
    reference, ours = pair(rule, clip_global_norm=1.0)
    there = [on("cupy", grads(seed)) for seed in range(staging.SLOTS)]
    counts = waits(monkeypatch)
    for seed, grad in enumerate(there):
        ours.step(grad)
        reference.step(grads(seed))
    assert [c.count for c in counts] == [0, 0, 0, 0]
    assert_same(snapshot(ours), snapshot(reference))
    assert ours.grad_norm == reference.grad_norm
    assert sum(c.count for c in counts) > 0


@needs_double
def test_a_step_that_may_be_skipped_is_asked_for_before_the_next_one(monkeypatch):
    """One wait a step, for what was enqueued a step ago."""
    reference, ours = pair("adamw", skip_nonfinite=True)
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
    assert_same(snapshot(ours), snapshot(reference))


def test_a_step_that_failed_does_not_count_for_the_scaler(monkeypatch):
    scaler = ss.LossScaler(8.0, growth_interval=1)
    optimizer = ss.AdamW(on("cupy", start()), loss_scaler=scaler)

    def fails(self, tensors):
        raise RuntimeError("no kernel")

    there = on("cupy", grads(0))
    optimizer.step(there)
    assert scaler.scale == 16.0
    optimizer.param_groups[0]["clip_value"] = 1.0  # another kernel
    monkeypatch.setattr(cupy_launch.CupyLaunch, "bind", fails)
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
    ("rule", "launches"), [("adamw", 1), ("lamb", 3), ("adafactor", 6), ("sgd", 1)]
)
@needs_double
def test_one_launch_a_pass_whatever_the_number_of_tensors(rule, launches, monkeypatch):
    count = Counts(monkeypatch, cupy.cuda.function.Function, "__call__")
    params = [np.full((3, 4), k, np.float32) for k in range(40)]
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
        monkeypatch.setattr(cupy_launch, "BLOCKS_PER_PROCESSOR", blocks)
        for rule in ("adamw", "lamb", "adafactor"):
            optimizer = ss.Optimizer(rule, on("cupy", start()))
            optimizer.step(on("cupy", grads(0)))
            results.append((rule, snapshot(optimizer)))
    for rule, found in results[3:]:
        assert_same(found, dict(results[:3])[rule])


# ---- streams


def on_streams(optimizer, seeds):
    for seed in seeds:
        with cupy.cuda.Stream(non_blocking=True):
            there = on("cupy", grads(seed))
            optimizer.step(there)


def test_a_step_on_another_stream_follows_the_last_one():
    reference, ours = pair("adamw", clip_global_norm=1.0)
    on_streams(ours, range(4))
    for seed in range(4):
        reference.step(grads(seed))
    with cupy.cuda.Stream(non_blocking=True):
        found = ours.state_dict()["state"]
    assert found[0]["step"] == 4
    for name in ("exp_avg", "exp_avg_sq"):
        for i, state in enumerate(reference.state):
            assert_same_bits(found[i][name], state[name])
    assert_same(snapshot(ours), snapshot(reference))


@needs_double
def test_control_without_the_order_the_steps_are_mixed_up(monkeypatch):
    reference, ours = pair("adamw", clip_global_norm=1.0)
    monkeypatch.setattr(CupyBackend, "_follow", lambda self: None)
    on_streams(ours, range(4))
    for seed in range(4):
        reference.step(grads(seed))
    cupy.cuda.Device().synchronize()
    with pytest.raises(AssertionError):
        assert_same(snapshot(ours), snapshot(reference))


# ---- capture


@pytest.mark.parametrize("rule", ["adamw", "lamb"])
def test_replays_are_steps(rule):
    """A captured step, replayed with new scalars and a changing limit and learning rate."""
    limits = [1.0, 2.0, 0.5, 3.0, 1.5]
    hyper = {"lr": lambda step: 0.1 / (1 + step), "clip_global_norm": lambda step: limits[step]}
    reference, ours = pair(rule, **hyper)
    there = on("cupy", grads(0))
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        cupy.cuda.Device().synchronize()
        for _ in range(2):
            ours.step(there)
        before = snapshot(ours)
        stream.begin_capture()
        ours.step(there)
        graph = stream.end_capture()
        assert_same(snapshot(ours), before)  # nothing was done, nothing counted
        for seed in range(1, 4):
            for array, grad in zip(there, grads(seed), strict=True):
                array[...] = cupy.asarray(grad)
            ours.prepare()
            graph.launch()
    for seed in (0, 0, 1, 2, 3):
        reference.step(grads(seed))
        norm = reference.grad_norm
    with stream:
        assert_same(snapshot(ours), snapshot(reference))
        assert ours.grad_norm == norm
    assert ours.steps_taken == 5


def test_a_replay_without_prepare_repeats_the_scalars():
    """The control of the test above."""
    reference, ours = pair("adamw")
    there = on("cupy", grads(0))
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        ours.step(there)
        stream.begin_capture()
        ours.step(there)
        graph = stream.end_capture()
        graph.launch()
        found = snapshot(ours)
    reference.step(grads(0))
    reference.step(grads(0))
    with pytest.raises(AssertionError):
        assert_same(found, snapshot(reference))


@pytest.mark.parametrize(
    ("hyper", "before", "message"),
    [
        (dict(skip_nonfinite=True), 1, "is left out where a gradient is not finite cannot be"),
        (dict(loss_scaler=ss.LossScaler()), 1, "capture without skip_nonfinite and loss_scaler"),
        (dict(accumulation_steps=2), 2, "accumulation over micro-batches cannot be captured"),
        (dict(), 0, "a step must be taken before one is captured"),
        (dict(clip_global_norm=1.0), 0, "a step must be taken before one is captured"),
    ],
)
def test_what_a_replay_cannot_do_is_refused(hyper, before, message):
    optimizer = ss.AdamW(on("cupy", start()), **hyper)
    there = on("cupy", grads(0))
    stream = cupy.cuda.Stream()
    with stream:
        for _ in range(before):
            optimizer.step(there)
        assert optimizer.steps_taken == (before > 0)
        with refused(optimizer, RuntimeError, message):
            stream.begin_capture()
            try:
                optimizer.step(there)
            finally:
                stream.end_capture()


def test_other_gradient_arrays_or_another_stream_are_refused_under_capture():
    optimizer = ss.AdamW(on("cupy", start()))
    stream, there, others = cupy.cuda.Stream(), on("cupy", grads(0)), on("cupy", grads(0))
    optimizer.step(there)
    before = snapshot(optimizer)
    with stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="on another stream than the optimizer's last work"):
            optimizer.step(there)
        stream.end_capture()
    assert_same(snapshot(optimizer), before)
    with stream:
        optimizer.step(there)
        with refused(optimizer, RuntimeError, "gradients in the same arrays"):
            stream.begin_capture()
            try:
                optimizer.step(others)
            finally:
                stream.end_capture()


def test_prepare_is_for_what_was_captured(any_backend):
    optimizer = ss.SGD(on(any_backend, start()), backend=any_backend)
    optimizer.step(on(any_backend, grads(0)))
    with refused(optimizer, RuntimeError, "prepare: no step of these parameters"):
        optimizer.prepare()


# ---- memory


def test_more_rows_than_a_kernel_adds_up_are_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(cupy_launch, "CHUNK", 2)
    for rule, shape, unit in [("adafactor", (5, 2), "rows"), ("lamb", (9,), "elements")]:
        optimizer = ss.Optimizer(rule, on("cupy", [np.ones(shape, np.float32)]))
        message = rf"params\[0\] has {shape[0]} {unit}; kernels add up to {shape[0] - 1}"
        with refused(optimizer, ValueError, message):
            optimizer.step(on("cupy", [np.ones(shape, np.float32)]))


def test_memory_of_copies_under_way_is_kept():
    """An optimizer that is gone has its last copies made yet: nobody else gets their memory."""
    for seed in range(6):
        params = on("cupy", start())
        ss.AdamW(params, clip_global_norm=1.0).step(on("cupy", grads(seed)))
    reference = start()
    ss.AdamW(reference, clip_global_norm=1.0, backend="numpy").step(grads(5))
    for array, expected in zip(params, reference, strict=True):
        assert_same_bits(array.get(), expected)


@needs_double
def test_out_of_memory_changes_nothing():
    pool = cupy.get_default_memory_pool()
    params = on("cupy", start())
    reference, optimizer = pair("adamw", clip_global_norm=1.0)
    there = on("cupy", grads(0))
    cupy.cuda.Device().synchronize()
    error = cupy.cuda.memory.OutOfMemoryError
    try:
        pool.set_limit(size=pool.used_bytes() + 100)
        with pytest.raises(error, match="Out of memory allocating"):
            ss.Adam(params)
        for array, expected in zip(params, start(), strict=True):
            assert_same_bits(array.get(), expected)
        with refused(optimizer, error, "Out of memory"):
            optimizer.step(there)
    finally:
        pool.set_limit(size=0)
    optimizer.step(there)
    reference.step(grads(0))
    assert_same(snapshot(optimizer), snapshot(reference))


@needs_double
def test_nothing_is_allocated_after_the_first_steps(monkeypatch):
    """Where gradients come in the same arrays; the first two steps see them for the first time."""
    optimizer = ss.LAMB(on("cupy", start()), clip_global_norm=1.0)
    there = on("cupy", grads(0))
    for _ in range(2):
        optimizer.step(there)
    allocations = Counts(monkeypatch, cupy, "empty")
    pinned = Counts(monkeypatch, cupy.cuda, "alloc_pinned_memory")
    for _ in range(3):
        optimizer.step(there)
    assert (allocations.count, pinned.count) == (0, 0)
