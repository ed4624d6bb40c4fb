"""Loss scaling and skipped steps: against torch's GradScaler, and with the same bits everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, leaves, off, on, random_like, refused, snapshot, step


def make(backend, **hyper):
    params = on(backend, like())
    return params, ss.AdamW(params, lr=0.1, backend=backend, **hyper)


def like():
    return [np.ones((5, 3), np.float16), np.ones(4, np.float32), np.ones(2)]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_one_nonfinite_element_skips_the_whole_step(value, where, any_backend):
    _params, optimizer = make(any_backend, skip_nonfinite=True)
    step(optimizer, random_like(like(), 0))
    assert (optimizer.skipped, optimizer.skipped_steps, optimizer.steps_taken) == (False, 0, 1)
    before = snapshot(optimizer)
    grads = random_like(like(), 1)
    grads[where].reshape(-1)[-1] = value
    step(optimizer, grads)
    assert_same(snapshot(optimizer), before)
    assert (optimizer.skipped, optimizer.skipped_steps, optimizer.steps_taken) == (True, 1, 1)
    step(optimizer, random_like(like(), 2))
    assert (optimizer.skipped, optimizer.skipped_steps, optimizer.steps) == (False, 1, [2, 2, 2])


def test_without_being_asked_nothing_is_skipped(any_backend):
    params, optimizer = make(any_backend)
    step(optimizer, [np.full_like(p, np.nan) for p in like()])
    assert np.isnan(off(any_backend, params[0])).all()
    assert not optimizer.skipped


def test_large_gradients_are_finite(any_backend):
    """Their squares overflow; they do not."""
    _params, optimizer = make(any_backend, skip_nonfinite=True)
    step(optimizer, [np.full_like(p, np.finfo(p.dtype).max) for p in like()])
    assert not optimizer.skipped


def test_large_gradients_are_clipped(any_backend):
    """If their norm is finite in float64: the largest of float64 have none, so they are left
    out."""
    _params, optimizer = make(any_backend, skip_nonfinite=True, clip_global_norm=1.0)
    largest = [min(float(np.finfo(p.dtype).max), 1e180) for p in like()]
    step(optimizer, [np.full_like(p, value) for p, value in zip(like(), largest, strict=True)])
    assert not optimizer.skipped
    assert np.isfinite(optimizer.grad_norm)
    step(optimizer, [np.full_like(p, np.finfo(p.dtype).max) for p in like()])
    assert optimizer.skipped
    assert optimizer.grad_norm == np.inf


def test_frozen_parameters_and_missing_gradients_skip_nothing(any_backend):
    params = on(any_backend, [np.ones(3), np.ones(3), np.ones(3)])
    groups = [{"params": params[:2]}, {"params": params[2:], "frozen": True}]
    optimizer = ss.SGD(groups, backend=any_backend, skip_nonfinite=True)
    step(optimizer, [[np.ones(3), None], [np.full(3, np.nan)]])
    assert not optimizer.skipped
    assert optimizer.steps == [1, 0, 0]


def test_scaled_gradients_give_the_step_of_unscaled_ones(any_backend):
    """A power of two is divided out exactly."""
    plain, reference = make(any_backend)
    params, optimizer = make(any_backend, loss_scaler=ss.LossScaler(scale=2.0**10))
    for k in range(4):
        grads = random_like(like(), k)
        step(reference, grads)
        step(optimizer, [g * g.dtype.type(2**10) for g in grads])
    for a, b in zip(off(any_backend, params), off(any_backend, plain), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_scaler_does_what_torch_s_does(any_backend):
    """The same scales and the same skipped steps as torch.amp.GradScaler with SGD."""
    torch = pytest.importorskip("torch")
    settings = dict(growth_factor=4.0, backoff_factor=0.5, growth_interval=3)
    theirs = torch.amp.GradScaler("cpu", init_scale=1024.0, **settings)
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    their_optimizer = torch.optim.SGD([weight], lr=0.5)
    param = on(any_backend, np.ones(3))
    scaler = ss.LossScaler(1024.0, **settings)
    optimizer = ss.SGD([param], lr=0.5, backend=any_backend, loss_scaler=scaler)
    scales = []
    for k, grad in enumerate(np.random.default_rng(0).standard_normal((40, 3))):
        if k in (2, 3, 11, 20, 36):
            grad[k % 3] = np.inf
        assert scaler.scale == theirs.get_scale()
        step(optimizer, [grad * scaler.scale])
        theirs.scale(torch.zeros(()))
        weight.grad = torch.from_numpy(grad * theirs.get_scale())
        theirs.step(their_optimizer)
        theirs.update()
        np.testing.assert_allclose(off(any_backend, param), weight.detach().numpy(), rtol=1e-12)
        scales.append(scaler.scale)
    assert optimizer.skipped_steps == 5
    assert len(set(scales)) > 6


def test_two_optimizers_share_a_loss_scaler_as_torch_s(any_backend):
    """A GAN: the first one's inf does not change what the second one's gradients are divided by,
    and an iteration counts once. torch.amp.GradScaler's ``update`` comes after both."""
    torch = pytest.importorskip("torch")
    settings = dict(growth_factor=4.0, backoff_factor=0.5, growth_interval=3)
    theirs = torch.amp.GradScaler("cpu", init_scale=1024.0, **settings)
    weights = [torch.ones(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    their_optimizers = [torch.optim.SGD([weight], lr=0.5) for weight in weights]
    params = [on(any_backend, np.ones(3)) for _ in range(2)]
    scaler = ss.LossScaler(1024.0, **settings)
    ours = [ss.SGD([p], lr=0.5, backend=any_backend, loss_scaler=scaler) for p in params]
    scales = set()
    for k, grads in enumerate(np.random.default_rng(0).standard_normal((20, 2, 3))):
        for place in range(2):
            if k in ((2, 3, 11), (3, 7))[place]:
                grads[place, k % 3] = np.inf
        scale = theirs.get_scale()
        theirs.scale(torch.zeros(()))
        assert scaler.scale == scale
        scales.add(scale)
        for weight, optimizer, grad in zip(weights, their_optimizers, grads, strict=True):
            weight.grad = torch.from_numpy(grad * scale)
            theirs.step(optimizer)
        theirs.update()
        for optimizer, grad in zip(ours, grads, strict=True):
            step(optimizer, [grad * scale])
        for param, weight in zip(params, weights, strict=True):
            np.testing.assert_allclose(off(any_backend, param), weight.detach().numpy(), rtol=1e-12)
    assert [optimizer.skipped_steps for optimizer in ours] == [3, 2]
    assert len(scales) > 4


def test_what_was_read_is_divided_out(backend):
    """Where each loss is multiplied by the scale as it is then, an iteration may count twice."""
    scaler = ss.LossScaler(4.0)
    first, second = (ss.SGD([np.ones(1)], loss_scaler=scaler, backend=backend) for _ in range(2))
    first.step([np.full(1, np.inf)])
    assert scaler.scale == 2.0
    second.step([np.full(1, scaler.scale)])
    np.testing.assert_array_equal(leaves(second)[0], [1 - 1e-3])


def test_a_step_without_reading_the_scale_counts_as_well(backend):
    scaler = ss.LossScaler(4.0, growth_interval=2)
    first, second = (ss.SGD([np.ones(1)], loss_scaler=scaler, backend=backend) for _ in range(2))
    for _ in range(2):  # two iterations of both
        first.step([np.ones(1)])
        second.step([np.ones(1)])
    assert scaler.state_dict() == {**ss.LossScaler(8.0, growth_interval=2).state_dict()}
    first.step([np.full(1, np.inf)])
    second.step([np.ones(1)])
    assert (first.skipped, second.skipped, scaler.scale) == (True, False, 4.0)


def test_a_shared_loss_scaler_is_loaded_in_place(backend):
    scaler = ss.LossScaler(4.0)
    first, second = (ss.SGD([np.ones(1)], loss_scaler=scaler, backend=backend) for _ in range(2))
    state = first.state_dict()
    state["loss_scaler"]["scale"] = 32.0
    first.load_state_dict(state)
    assert first.loss_scaler is second.loss_scaler is scaler
    assert scaler.scale == 32.0


def test_a_scale_that_divides_by_nothing_is_refused():
    scaler = ss.LossScaler(4.0)
    with pytest.raises(ValueError, match="scale must be in"):
        scaler.scale = 0.0
    assert scaler.scale == 4.0


def test_the_scale_neither_vanishes_nor_overflows():
    scaler = ss.LossScaler(1.0, growth_interval=1)
    for _ in range(5000):
        scaler.update(finite=True)
    assert np.isfinite(scaler.scale)
    for _ in range(5000):
        scaler.update(finite=False)
    assert scaler.scale == 2.0**-126


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(scale=0.0), r"scale must be in \[1.17549e-38, inf\), not 0"),
        (dict(scale=np.inf), "scale must be finite, not inf"),
        (dict(growth_factor=1.0), r"growth_factor must be in \(1, inf\), not 1"),
        (dict(backoff_factor=1.0), r"backoff_factor must be in \(0, 1\), not 1"),
        (dict(growth_interval=0), "growth_interval must be a positive integer, not 0"),
        (dict(good_steps=-1), "good_steps must be an integer"),
    ],
)
def test_a_scaler_that_cannot_work_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ss.LossScaler(**settings)


def test_a_thing_that_is_no_scaler_is_refused(any_backend):
    with pytest.raises(TypeError, match=r"loss_scaler must be a samestep.LossScaler or None"):
        make(any_backend, loss_scaler=1024.0)


# ---- accumulation


def micro_batches(params, steps, count):
    return [[random_like(like(), 10 * s + k) for k in range(count)] for s in range(steps)]


def test_accumulation_is_a_step_with_the_mean(any_backend):
    params, optimizer = make(any_backend, accumulation_steps=4)
    plain, reference = make(any_backend)
    for batches in micro_batches(like(), 3, 4):
        for k, grads in enumerate(batches):
            assert optimizer.micro_steps == k
            before = snapshot(optimizer)
            step(optimizer, grads)
            if k < 3:
                assert_same(snapshot(optimizer), before)
        exact = [np.float32 if p.dtype == np.float16 else p.dtype for p in like()]
        means = []
        for i, dtype in enumerate(exact):
            total = batches[0][i].astype(dtype)
            for grads in batches[1:]:
                total = total + grads[i].astype(dtype)
            means.append(total * dtype(0.25) if dtype is np.float32 else total * dtype.type(0.25))
        step(reference, means)
        for a, b in zip(off(any_backend, params), off(any_backend, plain), strict=True):
            np.testing.assert_array_equal(a, b)
    assert optimizer.steps_taken == 3


def test_accumulation_has_the_same_bits(any_other_backend):
    def run(any_backend):
        _, optimizer = make(
            any_backend, accumulation_steps=3, clip_global_norm=1.0, loss_scaler=ss.LossScaler(8.0)
        )
        for number, batches in enumerate(micro_batches(like(), 4, 3)):
            for k, grads in enumerate(batches):
                grads[number % 3] = None if k < number else grads[number % 3]
                if (number, k) == (2, 1):
                    grads[0][0, 0] = np.nan
                step(optimizer, grads)
        assert optimizer.skipped_steps == 1
        return snapshot(optimizer)

    assert_same(run(any_other_backend), run("numpy"))


def test_a_parameter_without_any_gradient_in_the_window_does_not_step(any_backend):
    _params, optimizer = make(any_backend, accumulation_steps=2)
    first, second = random_like(like(), 0), random_like(like(), 1)
    step(optimizer, [first[0], None, None])
    step(optimizer, [None, second[1], None])
    assert optimizer.steps == [1, 1, 0]
    step(optimizer, first)
    step(optimizer, second)
    assert optimizer.steps == [2, 2, 1]


def test_what_was_in_the_sums_before_does_not_matter(any_backend):
    """A skipped window with NaN leaves nothing behind."""
    params, optimizer = make(any_backend, accumulation_steps=2, skip_nonfinite=True)
    for _ in range(2):
        step(optimizer, [np.full_like(p, np.nan) for p in like()])
    assert optimizer.skipped
    for seed in range(2):
        step(optimizer, random_like(like(), seed))
    assert all(np.isfinite(p).all() for p in off(any_backend, params))


def test_an_incomplete_window_is_closed_by_asking_for_fewer(any_backend):
    """The mean is over the micro-batches that were there."""
    params, optimizer = make(any_backend, accumulation_steps=4)
    plain, reference = make(any_backend, accumulation_steps=2)
    for seed in range(2):
        optimizer.accumulation_steps = 4 if seed == 0 else 1
        step(optimizer, random_like(like(), seed))
        step(reference, random_like(like(), seed))
    for a, b in zip(off(any_backend, params), off(any_backend, plain), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        (0, ValueError, "accumulation_steps must be at least 1, not 0"),
        (2.0, TypeError, "accumulation_steps must be an integer, not 2.0"),
        (True, TypeError, "accumulation_steps must be an integer, not True"),
    ],
)
def test_wrong_numbers_of_micro_batches_are_refused(steps, error, message, any_backend):
    with pytest.raises(error, match=message):
        make(any_backend, accumulation_steps=steps)
    _params, optimizer = make(any_backend)
    step(optimizer, random_like(like(), 0))
    with refused(optimizer, error, message):
        optimizer.accumulation_steps = steps
        step(optimizer, random_like(like(), 0))


def test_a_group_cannot_join_while_gradients_are_being_accumulated(any_backend):
    _params, optimizer = make(any_backend, accumulation_steps=2)
    step(optimizer, random_like(like(), 0))
    with refused(optimizer, RuntimeError, "while gradients are being accumulated"):
        optimizer.add_param_group({"params": on(any_backend, [np.ones(3)])})
    assert len(leaves(optimizer)) == 3
