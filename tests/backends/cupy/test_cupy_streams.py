"""Steps on a CUDA device follow each other on any stream, and are captured in graphs."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from conftest import UNDER_TEST, needs_double
from cupy_steps import grads, pair, start
from helpers import assert_same, on, refused, snapshot
from samestep.golden.compare import assert_same_bits
from samestep.step.indexed_slices import IndexedSlices

pytestmark = pytest.mark.skipif("cupy" not in UNDER_TEST, reason="cupy is not under test")
if "cupy" in UNDER_TEST:
    import cupy
    from samestep.backends.cupy.backend import CupyBackend


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
    monkeypatch.setattr(CupyBackend, "follow", lambda self: None)
    on_streams(ours, range(4))
    for seed in range(4):
        reference.step(grads(seed))
    cupy.cuda.Device().synchronize()
    with pytest.raises(AssertionError):
        assert_same(snapshot(ours), snapshot(reference))


# ---- capture


@pytest.mark.parametrize(
    ("rule", "storage"),
    [("adamw", {}), ("lamb", {}), ("adamw", dict(state_dtype="bfloat16", rounding="stochastic"))],
)
def test_replays_are_steps(rule, storage):
    """A captured step, replayed with new scalars, those of random bits too, and a changing limit
    and learning rate."""
    limits = [1.0, 2.0, 0.5, 3.0, 1.5]
    hyper = {"lr": lambda step: 0.1 / (1 + step), "clip_global_norm": lambda step: limits[step]}
    reference, ours = pair(rule, **hyper, **storage)
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


def test_a_replay_steps_every_rule():
    """One graph for groups of two rules, which share the norm of all gradients."""
    params = {"weight": np.ones((3, 4), np.float32), "bias": np.ones(3, np.float32)}
    gradients = [{n: np.full_like(p, k + 1) for n, p in params.items()} for k in range(3)]
    reference, ours = (
        ss.Optimizer(
            "adamw", on(backend, params), rules={"bias": "lion"}, backend=backend,
            lr=lambda step: 0.1 / (1 + step), clip_global_norm=2.0,
        )
        for backend in ("numpy", "cupy")
    )  # fmt: skip
    there = on("cupy", gradients[0])
    with cupy.cuda.Stream(non_blocking=True) as stream:
        cupy.cuda.Device().synchronize()
        ours.step(there)
        stream.begin_capture()
        ours.step(there)
        graph = stream.end_capture()
        for grad in gradients[1:]:
            for name, array in there.items():
                array[...] = cupy.asarray(grad[name])
            ours.prepare()
            graph.launch()
    for grad in gradients:
        reference.step(grad)
    with stream:
        assert_same(snapshot(ours), snapshot(reference))


def test_a_replay_measures_again_and_leaves_out_what_has_no_norm():
    """Counted all the same: `prepare` counts before anybody knows."""
    reference, ours = pair("sgd", clip_global_norm=1.0)
    there = on("cupy", grads(0))
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        cupy.cuda.Device().synchronize()
        ours.step(there)
        stream.begin_capture()
        ours.step(there)
        graph = stream.end_capture()
    reference.step(grads(0))
    for value in (1e20, np.nan, np.inf, 1.0):
        changed = [np.full_like(grad, value) for grad in grads(1)]
        with stream:
            for array, grad in zip(there, changed, strict=True):
                array[...] = cupy.asarray(grad)
            ours.prepare()
            graph.launch()
        reference.step(changed)
        with stream:
            arrays = [snapshot(o) for o in (ours, reference)]
            names = [name for name in arrays[0] if not name.startswith("step")]
            assert_same(*({name: a[name] for name in names} for a in arrays))
            np.testing.assert_equal(ours.grad_norm, reference.grad_norm)
    assert (ours.steps_taken, reference.steps_taken, reference.skipped_steps) == (5, 3, 2)


def test_sums_over_all_parameters_are_not_captured():
    _, ours = pair("prodigy")
    there = on("cupy", grads(0))
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        ours.step(there)
        stream.begin_capture()
        try:
            with pytest.raises(RuntimeError, match="a step by prodigy cannot be captured"):
                ours.step(there)
        finally:
            stream.end_capture()


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
        (
            dict(accumulation_steps=2),
            2,
            "accumulation over micro-batches cannot be captured; capture with",
        ),
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


def test_gradients_of_some_rows_are_not_captured():
    """Nothing has been asked of the device by then, which would end the capture."""
    optimizer = ss.SparseAdam(on("cupy", [np.ones((4, 3))]))
    optimizer.step(on("cupy", [np.ones((4, 3))]))
    rows = on("cupy", [IndexedSlices(np.ones((2, 3)), np.array([3, 0]))])
    with cupy.cuda.Stream() as stream, refused(optimizer, RuntimeError, "of some rows cannot be"):
        stream.begin_capture()
        try:
            optimizer.step(rows)
        finally:
            stream.end_capture()


def test_a_step_is_captured_on_any_stream():
    """As ``torch.cuda.graph`` does, which has a stream of its own; `prepare` orders the replays."""
    reference, ours = pair("adamw")
    there = on("cupy", grads(0))
    ours.step(there)
    capture, replay = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    with capture:
        cupy.cuda.Device().synchronize()
        capture.begin_capture()
        ours.step(there)
        graph = capture.end_capture()
    for _ in range(2):
        with replay:
            ours.prepare()
            graph.launch()
        ours.step(there)
    for _ in range(5):
        reference.step(grads(0))
    assert_same(snapshot(ours), snapshot(reference))


def test_other_gradient_arrays_are_refused_under_capture():
    optimizer = ss.AdamW(on("cupy", start()))
    stream, there, others = cupy.cuda.Stream(), on("cupy", grads(0)), on("cupy", grads(0))
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


def test_other_numbers_of_a_matrix_function_than_the_captured_ones_are_refused():
    ours = ss.Muon(on("cupy", [np.ones((4, 3), np.float32)]), backend="cupy")
    there = on("cupy", [np.full((4, 3), 0.5, np.float32)])
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        ours.step(there)
        stream.begin_capture()
        ours.step(there)
        stream.end_capture()
        ours.param_groups[0]["lr"] = 0.01
        ours.prepare()
        taken = ours.steps_taken
        ours.param_groups[0]["ns_steps"] = 2
        with pytest.raises(RuntimeError, match="of muon takes has changed since the capture"):
            ours.prepare()
    assert ours.steps_taken == taken
