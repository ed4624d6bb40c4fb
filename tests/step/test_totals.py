"""Sums over all parameters of a rule, and the carried numbers that these share."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import off, on, step
from samestep.golden.compare import assert_same_bits
from samestep.language.summation import fold_by_halves

SHAPES = [(2_100,), (3, 5), (), (0, 2), (1_025,), (9,)]
DTYPES = [np.float32, np.float32, np.float64, np.float32, np.float16, np.float64]
FAST = dict(d0=1e-3, betas=(0.9, 0.99))


def arrays(seed):
    rng = np.random.default_rng(seed)
    each = zip(SHAPES, DTYPES, strict=True)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape, dtype in each]


def gradients(k):
    """Those of step ``k``, which agree enough for the estimate to grow; now and then a parameter
    has none."""
    pairs = enumerate(zip(arrays(50), arrays(100 + k), strict=True))
    return [None if (i + k) % 4 == 3 else np.asarray(a + b / 4, a.dtype) for i, (a, b) in pairs]


def numbers(optimizer, name="d"):
    """What each parameter carries by that name."""
    return [entry[name] for entry in optimizer.state_dict()["state"].values()]


def run(backend, groups, steps=6):
    """Parameters and estimates; ``groups`` are the positions of each one's parameters."""
    params = on(backend, arrays(0))
    members = [{"params": [params[i] for i in group]} for group in groups]
    optimizer = ss.Prodigy(members, backend=backend, **FAST)
    estimates = []
    for k in range(steps):
        grads = gradients(k)
        step(optimizer, [[grads[i] for i in group] for group in groups])
        estimates.append(numbers(optimizer))
    return off(backend, params), estimates


ONE = [range(6)]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_bits_depend_on_no_backend_thread_or_group(any_backend, threads, monkeypatch):
    """Three dtypes of parameters, some without a gradient: several launches, and one estimate."""
    monkeypatch.setenv("SAMESTEP_THREADS", threads)
    expected, estimates = run("numpy", ONE)
    assert estimates[-1][0] > estimates[0][0]
    for groups in (ONE, [[0, 1], [2, 3, 4], [5]]):
        found, theirs = run(any_backend, groups)
        assert theirs == estimates
        for param, other in zip(found, expected, strict=True):
            assert_same_bits(param, other)


def test_parameters_with_a_gradient_and_without_share_the_estimate(any_backend):
    _, estimates = run(any_backend, ONE)
    assert all(len(set(each)) == 1 for each in estimates)


def test_the_sums_of_those_that_stepped_are_added_by_halves(any_backend):
    params = on(any_backend, arrays(0))
    optimizer = ss.Prodigy(params, backend=any_backend, **FAST)
    for k in range(2):
        step(optimizer, gradients(k))
    state = off(any_backend, optimizer.state)
    sums = [s["denominator"] for s, g in zip(state, gradients(1), strict=True) if g is not None]
    total = float(fold_by_halves(np.array(sums, np.float64)))
    assert numbers(optimizer, "d_denom") == [total] * 6
    # control: that of a parameter without a gradient is an older one
    assert total != float(fold_by_halves(np.array([s["denominator"] for s in state], np.float64)))


def test_a_group_that_joins_takes_the_estimate_of_the_others(any_backend):
    params = [np.ones(5), np.full(3, 2.0)]
    first, second = on(any_backend, params)
    optimizer = ss.Prodigy([first], backend=any_backend, **FAST)
    for _ in range(6):
        step(optimizer, [np.ones(5)])
    (grown,) = numbers(optimizer, "d_max")
    assert grown > FAST["d0"]
    optimizer.add_param_group({"params": [second]})
    step(optimizer, [[np.ones(5)], [np.ones(3)]])
    here, there = numbers(optimizer, "d_max")
    assert here == there >= grown


def test_a_step_that_is_left_out_leaves_the_estimate(any_backend):
    params = on(any_backend, arrays(0))
    optimizer = ss.Prodigy(params, backend=any_backend, skip_nonfinite=True, **FAST)
    for k in range(3):
        step(optimizer, gradients(k))
    before = numbers(optimizer), numbers(optimizer, "d_numerator")
    spoilt = gradients(3)
    spoilt[1] = np.full((3, 5), np.nan, np.float32)
    step(optimizer, spoilt)
    assert optimizer.skipped
    assert (numbers(optimizer), numbers(optimizer, "d_numerator")) == before


def test_a_rule_with_a_part_shares_with_the_rule_without(any_backend):
    """16-bit parameters have a master, which is another variant and launch."""
    params = on(any_backend, [np.ones(5, np.float16), np.ones(5, np.float32)])
    groups = [{"params": params[:1], "master": "float32"}, {"params": params[1:]}]
    optimizer = ss.Prodigy(groups, backend=any_backend, **FAST)
    for _ in range(4):
        step(optimizer, [[np.ones(5, np.float16)], [np.ones(5, np.float32)]])
    first, second = numbers(optimizer, "d_numerator")
    assert first == second != 0


def test_what_is_shared_is_declared():
    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), dict(total=0)

    def update(xp, s, param, grad, sum_here):
        return param - s.lr * grad, xp.sum(grad)

    rest = dict(defaults=dict(lr=0.1), carry=dict(total=0.0))
    with pytest.raises(TypeError, match=r"shared names 'sum', which is not in carry \['total'\]"):
        ss.Rule("r", scalars, update, per=dict(sum_here="tensor"), shared=dict(sum=None), **rest)
    with pytest.raises(
        TypeError, match=r"shared\['total'\] must be None or a state of per 'tensor'"
    ):
        ss.Rule("r", scalars, update, shared=dict(total="sum_here"), **rest)


@pytest.mark.parametrize("target", ["c", "cuda", "numpy", "numba"])
def test_a_file_of_functions_of_one_tensor_is_refused(target):
    with pytest.raises(ValueError, match="goes by sums over all parameters"):
        ss.export("prodigy", target)
