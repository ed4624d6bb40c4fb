"""Schedules and their compositions against torch.optim.lr_scheduler, beyond the end, too."""

from __future__ import annotations

import numpy as np
import pytest
from samestep import schedules as s
from torch_schedulers import DRAWS, STEPS, Draw, assert_agrees, require_torch, torch_values


@pytest.fixture(scope="module")
def torch():
    return require_torch()


# each: (draw, lr) -> ours, and a function that makes torch's


def linear(draw, lr):
    a, b, n = draw.size(1e-4, 1), draw.between(0, 1), draw.length()
    return s.linear(lr, a, b, n), lambda L, o: L.LinearLR(o, a, b, n)


def linear_to_zero(draw, lr):
    n = draw.length()
    return s.linear(lr, 1, 0, n), lambda L, o: L.LinearLR(o, 1.0, 0.0, n)


def linear_by_default(draw, lr):
    return s.linear(lr), lambda L, o: L.LinearLR(o)


def constant(draw, lr):
    a, n = draw.size(1e-4, 1), draw.length()
    ours = s.constant(a * lr).then(lr, after=n)
    return ours, lambda L, o: L.ConstantLR(o, a, n)


def polynomial(draw, lr):
    n, p = draw.length(), draw.between(0, 5)
    return s.polynomial(lr, n, p), lambda L, o: L.PolynomialLR(o, n, p)


def polynomial_by_default(draw, lr):
    return s.polynomial(lr), lambda L, o: L.PolynomialLR(o)


def exponential(draw, lr):
    g = draw.between(0.9, 1.001)
    return s.exponential(lr, g), lambda L, o: L.ExponentialLR(o, g)


def step_decay(draw, lr):
    n, g = draw.length() + 20, draw.between(0.3, 1.1)
    return s.step_decay(lr, n, g), lambda L, o: L.StepLR(o, n, g)


def step_decay_by_default(draw, lr):
    n = draw.length() + 20
    return s.step_decay(lr, n), lambda L, o: L.StepLR(o, n)


def multi_step_decay(draw, lr):
    m, g = draw.milestones(), draw.between(0.1, 1.1)
    return s.multi_step_decay(lr, m, g), lambda L, o: L.MultiStepLR(o, m, g)


def multi_step_decay_by_default(draw, lr):
    m = draw.milestones()
    return s.multi_step_decay(lr, m), lambda L, o: L.MultiStepLR(o, m)


def cosine_restarts(draw, lr):
    n, m, low = draw.length(), int(draw.rng.integers(1, 4)), draw.between(0, 2 * lr)
    ours = s.cosine_restarts(lr, n, m, low)
    return ours, lambda L, o: L.CosineAnnealingWarmRestarts(o, n, m, low)


def cosine_restarts_by_default(draw, lr):
    n = draw.length()
    return s.cosine_restarts(lr, n), lambda L, o: L.CosineAnnealingWarmRestarts(o, n)


PAIRS = [
    linear, linear_to_zero, linear_by_default, constant, polynomial, polynomial_by_default,
    exponential, step_decay, step_decay_by_default, multi_step_decay, multi_step_decay_by_default,
    cosine_restarts, cosine_restarts_by_default,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(DRAWS))
@pytest.mark.parametrize("pair", PAIRS)
def test_torch_gives_the_same_at_every_step(torch, pair, seed):
    draw = Draw(seed)
    lr = draw.size(1e-4, 10)
    ours, make = pair(draw, lr)
    assert_agrees(ours, torch_values(torch, make, lr=lr)["lr"])


@pytest.mark.parametrize("wrong", ["late", "low", "restarted"])
def test_control_a_small_deviation_is_noticed(torch, wrong):
    theirs = torch_values(torch, lambda L, o: L.StepLR(o, 100), lr=0.1)["lr"]
    ours = {
        "late": s.step_decay(0.1, 101),
        "low": s.step_decay(0.1 * (1 - 2e-12), 100),
        "restarted": s.step_decay(0.1, 100).then(s.step_decay(0.1, 100), after=600),
    }[wrong]
    assert_agrees(s.step_decay(0.1, 100), theirs)
    with pytest.raises(AssertionError):
        assert_agrees(ours, theirs)


@pytest.mark.parametrize("seed", range(DRAWS))
@pytest.mark.parametrize("low", [0.0, 0.01, 2.0])
def test_cosine_until_its_end_where_torch_s_goes_up_again(torch, low, seed):
    draw = Draw(seed)
    n, lr = max(3, draw.length()), draw.size(1e-4, 10)
    theirs = torch_values(torch, lambda L, o: L.CosineAnnealingLR(o, n, low * lr), lr=lr)["lr"]
    ours = s.cosine(lr, n, low * lr)
    assert_agrees(ours, theirs[: n + 1])
    assert (theirs[n + 1] > theirs[n]) if low < 1 else (theirs[n + 1] < theirs[n])
    assert ours(n) == ours(n + 1) == ours(2**53) == low * lr


# ---- compositions


SMOOTH = [linear, constant, polynomial, exponential, step_decay, multi_step_decay]


@pytest.mark.parametrize("seed", range(DRAWS))
def test_a_sequence_is_torch_s_sequential(torch, seed):
    draw = Draw(seed)
    lr = draw.size(1e-4, 10)
    chosen = [PAIRS[i] for i in draw.rng.permutation(len(PAIRS))[:4]]
    chosen.sort(key=lambda pair: pair is constant)  # ours is a sequence itself, with a milestone
    ours, makes = zip(*[pair(draw, lr) for pair in chosen], strict=True)
    milestones = sorted(map(int, draw.rng.choice(np.arange(1, 600), len(chosen) - 1, False)))

    def make(L, o):
        return L.SequentialLR(o, [make(L, o) for make in makes], milestones)

    schedule = ours[0]
    for following, after in zip(ours[1:], milestones, strict=True):
        schedule = schedule.then(following, after=after)
    assert_agrees(schedule, torch_values(torch, make, lr=lr)["lr"])


@pytest.mark.parametrize("seed", range(DRAWS))
def test_a_product_is_torch_s_chain(torch, seed):
    draw = Draw(seed)
    lr = draw.size(1e-4, 10)
    chosen = [SMOOTH[i] for i in draw.rng.permutation(len(SMOOTH))[:3]]
    first, make_first = chosen[0](draw, lr)
    others = [pair(draw, 1.0) for pair in chosen[1:]]  # factors
    schedule = first
    for ours, _ in others:
        schedule = schedule * ours
    makes = [make_first, *(make for _, make in others)]
    theirs = torch_values(
        torch, lambda L, o: L.ChainedScheduler([make(L, o) for make in makes]), lr=lr
    )
    assert_agrees(schedule, theirs["lr"])


def test_warm_up_times_cosine_is_a_chain(torch):
    theirs = torch_values(
        torch,
        lambda L, o: L.ChainedScheduler(
            [L.LinearLR(o, 0.1, 1.0, 20), L.CosineAnnealingLR(o, STEPS)]
        ),
        lr=0.3,
    )
    assert_agrees(s.linear(1.0, 0.1, 1.0, 20) * s.cosine(0.3, STEPS), theirs["lr"])


def test_warm_up_then_cosine_is_torch_s_sequential(torch):
    theirs = torch_values(
        torch,
        lambda L, o: L.SequentialLR(
            o,
            [L.LinearLR(o, 0.1, 1.0, 20), L.CosineAnnealingLR(o, STEPS - 20, 0.01)],
            [20],
        ),
        lr=0.3,
    )
    ours = s.linear(0.3, 0.1, 1.0, 20).then(s.cosine(0.3, STEPS - 20, 0.01), after=20)
    assert_agrees(ours, theirs["lr"])
