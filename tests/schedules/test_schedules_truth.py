"""Schedules against their papers' formulas in 50-digit arithmetic, written here once more.

Every value is within 8 units in the last place: relative to itself, close to 0, too.
"""

from __future__ import annotations

import numpy as np
import pytest
from samestep import schedules as s

mpmath = pytest.importorskip("mpmath")
mpf = mpmath.mpf

ULPS = 8
LONG = 10**9


@pytest.fixture(autouse=True)
def _fifty_digits():
    with mpmath.workdps(50):
        yield


def worst(schedule, formula, steps) -> float:
    """The largest error in units in the last place of the true value."""
    errors = [0.0]
    for step in steps:
        value, truth = mpf(schedule(step)), formula(mpf(step))
        ulp = mpf(float(np.spacing(abs(float(truth)))))
        errors.append(float(abs(value - truth) / ulp))
    return max(errors)


def steps_to(end: int) -> list[int]:
    """All of few; of many the first and last, and some at random."""
    if end < 2000:
        return list(range(end + 50))
    rng = np.random.default_rng(0)
    edges = [step for k in (0, end) for step in range(max(0, k - 100), k + 100)]
    return sorted({*edges, *map(int, rng.integers(0, end, 500))})


def half_cosine(x):
    """1 at 0, 0 at 1."""
    return (1 + mpmath.cos(mpmath.pi * x)) / 2


@pytest.mark.parametrize("T", [1, 2, 777, LONG])
@pytest.mark.parametrize(("base", "low"), [(0.1, 0.0), (0.3, 1e-9), (1e-5, 0.04)])
def test_cosine(base, low, T):
    def formula(t):
        return mpf(low) + (mpf(base) - mpf(low)) * half_cosine(min(t, T) / mpf(T))

    assert worst(s.cosine(base, T, low), formula, steps_to(T)) <= ULPS


def test_control_the_usual_form_of_the_cosine_is_not_that_accurate():
    T = 777

    class usual(s.cosine):
        def _at(self, step):
            return self.base * (1 + np.cos(np.pi * step / self.T_max)) / 2

    def formula(t):
        return mpf(0.1) * half_cosine(t / mpf(T))

    assert worst(usual(0.1, T), formula, range(T)) > 100 * ULPS


@pytest.mark.parametrize(("first", "mult"), [(1, 1), (7, 1), (5, 2), (3, 3)])
def test_cosine_restarts(first, mult):
    """The periods are walked through, one after the other."""
    truth, period, way = [], first, mpf(0.51) - mpf(0.01)
    while len(truth) < 3000:
        truth += [mpf(0.01) + way * half_cosine(mpf(t) / period) for t in range(period)]
        period *= mult
    ours = s.cosine_restarts(0.51, first, mult, 0.01)
    assert worst(ours, lambda t: truth[int(t)], range(len(truth))) <= ULPS


@pytest.mark.parametrize("n", [1, 5, 777, LONG])
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (1e-9, 1.0), (0.25, 0.75)])
def test_linear(start, end, n):
    def formula(t):
        x = min(t, n) / mpf(n)
        return mpf(0.1 * start) * (1 - x) + mpf(0.1 * end) * x

    assert worst(s.linear(0.1, start, end, n), formula, steps_to(n)) <= ULPS


@pytest.mark.parametrize("n", [1, 5, 777, LONG])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.3])
def test_polynomial(power, n):
    def formula(t):
        return mpf(0.1) * (1 - min(t, n) / mpf(n)) ** mpf(power)

    assert worst(s.polynomial(0.1, n, power), formula, steps_to(n)) <= ULPS


@pytest.mark.parametrize("gamma", [0.9, 0.999, 1.0001])
def test_powers_of_gamma(gamma):
    g, milestones = mpf(gamma), [3, 3, 500, 700]
    steps = range(1500)
    assert worst(s.exponential(0.1, gamma), lambda t: mpf(0.1) * g**t, steps) <= ULPS
    stepwise = s.step_decay(0.1, 30, gamma)
    assert worst(stepwise, lambda t: mpf(0.1) * g ** mpmath.floor(t / 30), steps) <= ULPS
    multi = s.multi_step_decay(0.1, milestones, gamma)
    passed = [sum(step >= m for m in milestones) for step in steps]
    assert worst(multi, lambda t: mpf(0.1) * g ** passed[int(t)], steps) <= ULPS


@pytest.mark.parametrize("warmup", [1, 10, 4000, LONG])
def test_inverse_sqrt_of_the_transformer(warmup):
    """Equation 3 of arXiv:1706.03762: d_model**-0.5 * min(n**-0.5, n * warmup**-1.5)."""
    base = 0.0007
    scale = mpf(base) * mpmath.sqrt(warmup)  # d_model ** -0.5

    def paper(t):
        n = t + 1
        return scale * min(n ** mpf(-0.5), n * mpf(warmup) ** mpf(-1.5))

    steps = [*steps_to(warmup), 10**6, 2**53]
    assert worst(s.inverse_sqrt(base, warmup), paper, steps) <= ULPS
    # with the steps counted from 0 it would be another schedule
    assert worst(s.inverse_sqrt(base, warmup), lambda t: paper(t - 0.5), steps[5:50]) > 1000 * ULPS


@pytest.mark.parametrize("warmup", [1, 10, 4000])
def test_inverse_sqrt_of_fairseq(warmup):
    """fairseq's inverse_square_root_schedule at num_updates = step + 1, with warmup_init_lr."""
    base, init = mpf(0.0005), mpf(1e-7)

    def fairseq(t):
        num_updates = t + 1
        if num_updates < warmup:
            return init + num_updates * (base - init) / warmup
        return base * mpmath.sqrt(warmup) * num_updates ** mpf(-0.5)

    assert worst(s.inverse_sqrt(0.0005, warmup, 1e-7), fairseq, steps_to(warmup)) <= ULPS


@pytest.mark.parametrize("n", [1, 10, 4000, LONG])
@pytest.mark.parametrize("init", [0.0, 1e-7, 1.0])
def test_linear_warmup(init, n):
    def formula(t):
        return mpf(init) + (mpf(0.1) - mpf(init)) * min(t + 1, n) / mpf(n)

    assert worst(s.linear_warmup(0.1, n, init), formula, steps_to(n)) <= ULPS


# what is left of the learning rate when x of the decay is over, in [0, 1]
DECAYS = {
    "linear": lambda x: 1 - x,
    "1-sqrt": lambda x: 1 - mpmath.sqrt(x),
    "cos": half_cosine,
}


@pytest.mark.parametrize("strategy", DECAYS)
@pytest.mark.parametrize(
    ("total", "warmup", "decay"),
    [(1000, 100, 200), (777, 0, 777), (10, 10, 0), (10, 4, 6), (1, 0, 0), (LONG, 1000, LONG // 5)],
)
def test_warmup_stable_decay(total, warmup, decay, strategy):
    """Hägele et al., arXiv:2405.18392, section 3; steps counted from 1 while it warms up."""
    eta, low = mpf(0.1), mpf(1e-6)

    def paper(t):
        if t < warmup:
            return eta * (t + 1) / warmup
        if t <= total - decay or not decay:
            return eta
        return low + (eta - low) * DECAYS[strategy]((min(t, total) - (total - decay)) / mpf(decay))

    ours = s.warmup_stable_decay(0.1, total, warmup, decay, strategy, eta_min=1e-6)
    assert worst(ours, paper, steps_to(total)) <= ULPS


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_one_cycle(strategy, three_phase):
    total, top, pct_start = 1000, 0.5, 0.25
    low = top / 25
    corners = [(0, low), (249, top), *[(498, low)] * three_phase, (999, low / 1e4)]

    def formula(t):
        t = min(t, mpf(total - 1))
        k = max(i for i, (begin, _) in enumerate(corners[:-1]) if begin <= t)
        (a, start), (b, end) = corners[k : k + 2]
        return mpf(end) + (mpf(start) - mpf(end)) * DECAYS[strategy]((t - a) / mpf(b - a))

    ours = s.one_cycle(top, total, pct_start, strategy, three_phase=three_phase)
    assert worst(ours, formula, steps_to(total)) <= ULPS
