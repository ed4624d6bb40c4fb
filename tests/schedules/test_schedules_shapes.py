"""Shapes of schedules: they decay without ever going up, have no jumps but the announced ones,
and hold their last value."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samestep import schedules as s
from schedule_strategies import NONNEGATIVE, cycles, drawn, warmup_stable_decays

MODERATE = st.floats(1e-6, 1e3)
LENGTHS = st.integers(1, 3000)


@st.composite
def decays(draw):
    """A schedule that only falls, from the step where it begins to."""
    high, low = sorted(draw(st.tuples(NONNEGATIVE, NONNEGATIVE)), reverse=True)
    n, gamma = draw(LENGTHS | st.integers(1, 2**53)), draw(st.floats(0, 1))
    wsd = draw(warmup_stable_decays(st.just(high), st.floats(0, low)))
    falling = [
        (s.linear(high, 1.0, draw(st.floats(0, 1)), n), 0),
        (s.polynomial(high, n, draw(st.floats(0, 9))), 0),
        (s.cosine(high, n, low), 0),
        (s.exponential(high, gamma), 0),
        (s.step_decay(high, n, gamma), 0),
        (s.multi_step_decay(high, sorted(draw(st.lists(LENGTHS))), gamma), 0),
        (s.inverse_sqrt(high, n), n - 1),
        (wsd, wsd.warmup_steps),
    ]
    return draw(st.sampled_from(falling))


def rises(schedule, steps) -> bool:
    found = [schedule(step) for step in steps]
    return any(after > before for before, after in itertools.pairwise(found))


@drawn
@given(decays(), st.lists(st.integers(0, 4000) | st.integers(0, 2**53)), st.integers(0, 4000))
def test_a_decay_never_goes_up(decay, steps, first):
    schedule, start = decay
    together = range(first, first + 40)
    assert not rises(schedule, [max(start, step) for step in sorted({*steps, *together, 2**53})])


def test_control_a_restart_goes_up():
    assert rises(s.cosine_restarts(0.1, 10), range(12))
    assert rises(s.linear_warmup(0.1, 10), range(12))
    assert rises(s.exponential(0.1, 0.9).then(0.1, after=5), range(12))


@pytest.mark.parametrize("T", [3, 1000, 10**6, 10**9, 10**12, 2**53])
def test_a_long_cosine_never_goes_up_either(T):
    """Where neighbours differ by less than a unit in the last place."""
    for start in (0, T // 3, T // 2, T - T // 3, max(0, T - 2000)):
        assert not rises(s.cosine(0.1, T, 0.01), range(max(0, start - 1000), start + 1000))


# ---- no jumps


@st.composite
def continuous(draw):
    """A schedule and the largest change from one step to the next that its formula allows."""
    a, b, n = draw(MODERATE), draw(MODERATE), draw(LENGTHS)
    wsd = draw(warmup_stable_decays(st.just(a), st.floats(0, 1e3)))
    wsd_change = max(
        abs(a - wsd.warmup_init) / max(1, wsd.warmup_steps),
        abs(a - wsd.eta_min)
        * {"linear": 1 / max(1, wsd.decay_steps), "cos": math.pi / 2 / max(1, wsd.decay_steps)}.get(
            wsd.anneal_strategy, 1 / math.sqrt(max(1, wsd.decay_steps))
        ),
    )
    options = draw(cycles()) | dict(total_steps=draw(st.integers(20, 3000)), pct_start=0.3)
    phase = 0.3 * options["total_steps"] - 1
    return draw(
        st.sampled_from(
            [
                (s.linear(1.0, a, b, n), abs(a - b) / n),
                (s.linear_warmup(a, n, b), abs(a - b) / n),
                (s.cosine(a, n, b), abs(a - b) * math.pi / 2 / n),
                (s.polynomial(a, n, 3.0), a * 3 / n),
                (s.exponential(a, 0.9), a * 0.1),
                (s.inverse_sqrt(a, n, b), max(abs(a - b), a) / n),
                (wsd, wsd_change),
                (s.one_cycle(a, **options), a * math.pi / 2 / phase),
                (s.one_cycle_momentum(**options), 0.1 * math.pi / 2 / phase),
            ]
        )
    )


def largest_change(schedule, steps) -> float:
    found = [schedule(step) for step in steps]
    return max(abs(after - before) for before, after in itertools.pairwise(found))


@drawn
@given(continuous(), st.integers(0, 2900))
def test_no_jumps(smooth, first):
    schedule, change = smooth
    size = abs(schedule(0)) + abs(schedule(5000))
    for steps in (range(200), range(first, first + 200)):
        assert largest_change(schedule, steps) <= change * (1 + 1e-9) + 1e-14 * size


def test_control_a_jump_is_noticed():
    smooth = s.cosine(0.1, 100)
    late = s.linear_warmup(0.1, 100).then(s.cosine(0.1, 100), after=99)
    jumping = s.linear_warmup(0.1, 100).then(s.cosine(0.1, 100), after=80)
    change = 0.1 * math.pi / 2 / 100
    assert largest_change(smooth, range(200)) <= change
    assert largest_change(late, range(200)) <= change
    assert largest_change(jumping, range(200)) > 10 * change


# ---- beyond the end


@drawn
@given(a=MODERATE, b=MODERATE, n=LENGTHS, beyond=st.integers(0, 5000), options=cycles())
def test_the_last_value_holds(a, b, n, beyond, options):
    rate = s.one_cycle(a, **options)
    ended = [
        (s.linear(1.0, a, b, n), n, b),
        (s.polynomial(a, n, 2.0), n, 0.0),
        (s.cosine(a, n, b), n, b),
        (s.linear_warmup(a, n, b), n - 1, a),
        (s.multi_step_decay(a, [1, n], 0.5), n, a * 0.25),
        (s.warmup_stable_decay(a, n, n // 3, n // 2, eta_min=b), n, b if n // 2 else a),
    ]
    if options["pct_start"] < 1:
        ended.append((rate, options["total_steps"] - 1, a / 25 / 1e4))
    for schedule, end, value in ended:
        assert schedule(min(end + beyond, 2**53)) == schedule(end) == schedule(2**53) == value
