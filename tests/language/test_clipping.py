"""Clipping by value, by the norm of a tensor and by the norm of all: against plain NumPy, and with
the same bits everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer
from helpers import assert_same, leaves, off, on, random_like, refused, snapshot, step
from hypothesis import given, settings
from hypothesis import strategies as st
from samestep.golden.compare import assert_same_bits
from samestep.language.clipping import clipped
from samestep.language.passes import program
from samestep.step.measurement import FINITE, NORM, scale_down
from variants import options_of, values, variants

SHAPES = [(), (0,), (3,), (70, 129), (200_001,)]
BOTH = ("clip_value", "clip_norm")
ids = {"ids": lambda rule: getattr(rule, "label", None)}


def params_of(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]


def train(rule, backend, grads_of, dtype=np.float32, steps=4, **hyper):
    optimizer = ss.Optimizer(rule, on(backend, params_of(dtype)), backend=backend, **hyper)
    for k in range(steps):
        step(optimizer, grads_of(k))
    return optimizer


def normal(step, dtype=np.float32):
    return params_of(dtype, 100 + step)


def test_clip_value_is_numpys_clip(any_backend):
    ours = train("adamw", any_backend, normal, clip_value=0.5)
    by_hand = train(
        "adamw", any_backend, lambda k: [np.asarray(np.clip(g, -0.5, 0.5)) for g in normal(k)]
    )
    assert_same(snapshot(ours), snapshot(by_hand))


@pytest.mark.parametrize("limit", [0.1, 10.0, 1e4])
def test_norms_are_numpys_to_rounding(any_backend, limit):
    """Gradients scaled by hand with numpy.linalg.norm, in float64, to 1e-13."""

    def one_by_one(step):
        return [
            np.asarray(g * min(1.0, limit / max(np.linalg.norm(g), 1e-300))) for g in grads(step)
        ]

    def together(step):
        norm = np.linalg.norm(np.concatenate([g.reshape(-1) for g in grads(step)]))
        return [np.asarray(g * min(1.0, limit / norm)) for g in grads(step)]

    def grads(step):
        return normal(step, np.float64)

    for name, by_hand in [("clip_norm", one_by_one), ("clip_global_norm", together)]:
        ours = train("sgd", any_backend, grads, np.float64, lr=0.1, **{name: limit})
        expected = train("sgd", any_backend, by_hand, np.float64, lr=0.1)
        unclipped = train("sgd", any_backend, grads, np.float64, lr=0.1)
        for a, b, c in zip(
            *(off(any_backend, leaves(o)) for o in (ours, expected, unclipped)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)
            if limit == 0.1 and a.size:
                assert np.abs(a - c).max() > 1e-3


def test_the_norm_is_reported_before_clipping(any_backend):
    optimizer = ss.SGD(on(any_backend, params_of()), backend=any_backend, clip_global_norm=1.0)
    assert optimizer.grad_norm is None
    step(optimizer, normal(0, np.float64))
    expected = math.sqrt(math.fsum(x * x for g in normal(0, np.float64) for x in g.reshape(-1)))
    assert optimizer.grad_norm == pytest.approx(expected, rel=1e-14)
    optimizer.clip_global_norm = None
    step(optimizer, normal(0, np.float64))
    assert optimizer.grad_norm is None


SOME = {"sgd_momentum_nesterov", "adamw_amsgrad", "nadam", "rprop", "lamb", "adafactor"}


@pytest.mark.parametrize("rule", [v for v in variants() if v.label in SOME], **ids)
def test_rules_clip_with_the_same_bits(rule, any_other_backend):
    def grads(step):
        rng = np.random.default_rng(step)
        return [values(rng, shape, np.float32, 0.01) for shape in SHAPES]

    hyper = dict(clip_value=10.0, clip_norm=3.0, clip_global_norm=5.0, **options_of(rule))
    reference = train(rule, "numpy", grads, **hyper)
    ours = train(rule, any_other_backend, grads, **hyper)
    assert_same(snapshot(ours), snapshot(reference))
    assert_same_bits(np.float64(ours.grad_norm), np.float64(reference.grad_norm))


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 5, 2047, 2049, 65_536, 65_537]), min_size=1, max_size=5),
    dtype=st.sampled_from(["float32", "float64", "float16"]),
    seed=st.integers(0, 1000),
)
def test_any_split_of_dtypes_and_sizes_has_the_same_norm(sizes, dtype, seed):
    def run(backend):
        rng = np.random.default_rng(seed)
        kinds = [dtype if i % 2 else "float32" for i in range(len(sizes))]
        params = [np.zeros(n, kind) for n, kind in zip(sizes, kinds, strict=True)]
        optimizer = ss.SGD(
            params, lr=1.0, backend=backend, clip_global_norm=0.5, skip_nonfinite=True
        )
        optimizer.step(
            [rng.standard_normal(n).astype(kind) for n, kind in zip(sizes, kinds, strict=True)]
        )
        return optimizer.grad_norm, params

    reference = run("numpy")
    for other in ("numba",):
        norm, params = run(other)
        assert norm == reference[0]
        for a, b in zip(params, reference[1], strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("clips", [("clip_value",), ("clip_norm",), BOTH])
@pytest.mark.parametrize("rule", ["adamw", "sgd", "lamb"])
def test_printed_c_clips_with_the_same_bits(rule, clips, tmp_path):
    variant = clipped(ss.rules.registry[rule], clips)
    hyper = dict.fromkeys(clips, 0.7)
    param, by_c = (np.float32(np.random.default_rng(1).standard_normal((90, 11))) for _ in "ab")
    reference = ss.Optimizer(rule, [param], backend="numpy", **hyper)
    compiled = COptimizer(variant, by_c, tmp_path, **hyper)
    for k in range(5):
        (grad,) = random_like([param], k)
        reference.step([grad])
        compiled.step(grad)
    assert_same_bits(by_c, param)


@pytest.mark.parametrize(
    ("rule", "arrays"),
    [
        (clipped(ss.rules.registry["adamw"], ("clip_value",)), (4, 3)),
        (clipped(ss.rules.registry["adamw"], ("clip_norm",)), (5, 3)),
        (clipped(ss.rules.registry["lamb"], ("clip_norm",)), (9, 3)),
        (NORM, (1, 0)),
        (FINITE, (1, 0)),
    ],
)
def test_clipping_by_a_norm_reads_the_gradient_once_more(rule, arrays):
    """So AdamW moves 28 bytes a float32 parameter with clip_value and 32 with a norm."""
    assert program(rule).traffic == arrays


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtypes", [(np.float32,) * 3, (np.float32, np.float64, np.float16)])
def test_a_step_whose_norm_is_not_finite_is_left_out(value, dtypes, any_backend):
    """All of it, and it says so: the other gradients cannot be clipped either."""
    params = [np.full(3, 2.0, dtype) for dtype in dtypes]
    optimizer = ss.Adam(on(any_backend, params), lr=1.0, backend=any_backend, clip_global_norm=1.0)
    grads = [np.full(3, 1e6 if dtype is not np.float16 else 1, dtype) for dtype in dtypes]
    step(optimizer, grads)
    assert not optimizer.skipped
    assert math.isfinite(optimizer.grad_norm)
    for place in range(3):
        bad = [grad.copy() for grad in grads]
        bad[place][1] = value
        before = snapshot(optimizer)
        step(optimizer, bad)
        assert_same(snapshot(optimizer), before)
        assert optimizer.skipped
        assert not math.isfinite(optimizer.grad_norm)
        assert (optimizer.steps_taken, optimizer.skipped_steps) == (1, place + 1)
    step(optimizer, grads)
    assert not optimizer.skipped
    assert optimizer.steps == [2, 2, 2]


@pytest.mark.parametrize("size", [1e20, 3e38])
@pytest.mark.parametrize("other", [np.float32, np.float64])
def test_a_norm_whose_squares_overflow_is_measured(size, other, any_backend):
    """The largest finite gradients of float32 have a norm in float64, and are clipped by it."""
    params = [np.zeros(70_000, np.float32), np.zeros(3, other), np.zeros(2, np.float32)]
    copies = on(any_backend, [p.copy() for p in params])
    optimizer = ss.SGD(copies, lr=1.0, backend=any_backend, clip_global_norm=1.0)
    grads = [np.full(params[0].shape, size, np.float32), np.full(3, size / 2, other), None]
    step(optimizer, grads)
    exact = math.sqrt(sum(float(np.sum(g.astype(np.float64) ** 2)) for g in grads if g is not None))
    assert optimizer.grad_norm == pytest.approx(exact, rel=1e-4)
    assert not optimizer.skipped
    moved = off(any_backend, leaves(optimizer))
    assert moved[0][0] == pytest.approx(-size / exact, rel=1e-4)
    reference = ss.SGD(params, lr=1.0, backend="numpy", clip_global_norm=1.0)
    step(reference, grads)
    assert reference.grad_norm == optimizer.grad_norm
    assert_same(snapshot(optimizer), snapshot(reference))


@pytest.mark.parametrize("exponent", [-1070, -160, -40, -1, 0, 1, 90, 130, 1000])
def test_what_is_measured_again_is_exact_and_does_not_overflow(exponent):
    """The coefficient times the scale is normal in float32, and 2**63 squares can be added."""
    coefficient = 1.75 * 2.0**exponent
    scale = scale_down(coefficient)
    assert math.frexp(scale)[0] == 0.5
    assert scale <= 1
    assert scale == 1 or coefficient * scale >= 2.0**-126
    largest = min(2.0**128, 2.0**128 * coefficient)  # of gradients that are finite when scaled
    assert (largest * scale) ** 2 * 2.0**63 <= 2.0**128


def test_clipping_starts_ends_and_changes_between_steps(any_backend):
    params = on(any_backend, [np.zeros(2)])
    optimizer = ss.SGD(params, lr=1.0, backend=any_backend)
    grads = [np.array([3.0, 4.0])]
    moves = []
    for clip in (
        {},
        {"clip_norm": 1.0},
        {"clip_norm": 2.5},
        {"clip_norm": None, "clip_value": 2.0},
    ):
        optimizer.param_groups[0].update(clip)
        before = off(any_backend, params[0])
        step(optimizer, grads)
        moves.append((before - off(any_backend, params[0])).tolist())
    expected = [[3, 4], [0.6, 0.8], [1.5, 2], [2, 2]]
    np.testing.assert_allclose(moves, expected, rtol=1e-15)
    assert optimizer.steps == [4]


def test_groups_clip_in_their_own_ways(any_backend):
    params = on(any_backend, [np.zeros(2), np.zeros(2)])
    groups = [{"params": [params[0]], "clip_value": 1.0}, {"params": [params[1]]}]
    optimizer = ss.SGD(groups, lr=1.0, backend=any_backend)
    step(optimizer, [[np.array([3.0, 0.5])], [np.array([3.0, 0.5])]])
    assert [p.tolist() for p in off(any_backend, params)] == [[-1.0, -0.5], [-3.0, -0.5]]


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("clip_value", 0.0, ValueError, r"clip_value must be in \(0, inf\), not 0"),
        ("clip_norm", -1.0, ValueError, r"clip_norm must be in \(0, inf\), not -1"),
        ("clip_norm", "1", TypeError, "clip_norm must be a number, not '1'"),
        ("clip_global_norm", 0, ValueError, r"clip_global_norm must be in \(0, inf\), not 0"),
        ("clip_global_norm", "1", TypeError, "clip_global_norm must be a number, not '1'"),
        ("skip_nonfinite", 2, TypeError, "skip_nonfinite must be True or False, not 2"),
    ],
)
def test_wrong_limits_are_refused(name, value, error, message, any_backend):
    with pytest.raises(error, match=message):
        ss.SGD(on(any_backend, [np.zeros(2)]), backend=any_backend, **{name: value})
    optimizer = ss.SGD(on(any_backend, [np.zeros(2)]), backend=any_backend)
    step(optimizer, [np.ones(2)])
    with refused(optimizer, error, message):
        if name in optimizer.param_groups[0]:
            optimizer.param_groups[0][name] = value
        else:
            setattr(optimizer, name, value)
        step(optimizer, [np.ones(2)])
