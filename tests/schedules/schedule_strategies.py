"""Random schedules of every kind, for Hypothesis, and how its tests are run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from samestep import schedules
from samestep.schedules.schedule import KINDS, product, sequence
from sampling import EVERYTHING

drawn = settings(
    max_examples=1000 if EVERYTHING else 60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

METRICS = st.floats(-1e3, 1e3) | st.sampled_from([float("nan"), float("inf"), -float("inf"), 0.0])
STEPS = st.integers(0, 3000) | st.integers(0, 2**53)
LENGTHS = st.integers(1, 2000) | st.integers(1, 2**53)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NONNEGATIVE = st.floats(0, allow_infinity=False)
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
FACTOR = st.floats(0, 1, exclude_max=True)
FRACTION = st.floats(0, 1)


@st.composite
def warmup_stable_decays(draw, base=FINITE, other=FINITE):
    warm, stable, decay = draw(st.tuples(*[st.integers(0, 1000)] * 3))
    total = max(1, warm + stable + decay)
    strategy = draw(st.sampled_from(["linear", "cos", "1-sqrt"]))
    return schedules.warmup_stable_decay(
        draw(base), total, warm, decay, strategy, draw(other), draw(other)
    )


@st.composite
def cycles(draw):
    """What `one_cycle` and `one_cycle_momentum` have in common."""
    three = draw(st.booleans())
    pct_start = draw(st.floats(0.1, 0.5) if three else FRACTION)
    total = draw(st.integers(11, 2000) if three else LENGTHS)
    strategy = draw(st.sampled_from(["cos", "linear"]))
    return dict(total_steps=total, pct_start=pct_start, anneal_strategy=strategy, three_phase=three)


@st.composite
def plateaus(draw):
    low, high = sorted(draw(st.tuples(FINITE, FINITE)))
    plateau = schedules.reduce_on_plateau(
        high,
        mode=draw(st.sampled_from(["min", "max"])),
        factor=draw(FACTOR),
        patience=draw(st.integers(0, 4)),
        threshold=draw(FACTOR),
        threshold_mode=draw(st.sampled_from(["rel", "abs"])),
        cooldown=draw(st.integers(0, 4)),
        min_value=low,
        eps=draw(st.floats(0, 1e-3)),
    )
    for metric in draw(st.lists(METRICS, max_size=20)):
        plateau.observe(metric)
    return plateau


def leaves() -> st.SearchStrategy:
    """A schedule that is not made of others, with any arguments there may be."""
    s, build = schedules, st.builds
    many = st.lists(st.integers(0, 2**53), max_size=6).map(sorted)
    return st.one_of(
        build(s.constant, FINITE),
        build(s.linear, FINITE, NONNEGATIVE, NONNEGATIVE, LENGTHS),
        build(s.linear_warmup, FINITE, LENGTHS, FINITE),
        build(s.polynomial, FINITE, LENGTHS, NONNEGATIVE),
        build(s.cosine, FINITE, LENGTHS, FINITE),
        build(s.cosine_restarts, FINITE, LENGTHS, st.integers(1, 4), FINITE),
        build(s.exponential, FINITE, NONNEGATIVE),
        build(s.step_decay, FINITE, LENGTHS, NONNEGATIVE),
        build(s.multi_step_decay, FINITE, many, NONNEGATIVE),
        build(s.inverse_sqrt, FINITE, LENGTHS, FINITE),
        warmup_stable_decays(),
        st.tuples(cycles(), FINITE, POSITIVE, POSITIVE).map(
            lambda t: s.one_cycle(max_value=t[1], div_factor=t[2], final_div_factor=t[3], **t[0])
        ),
        st.tuples(cycles(), FINITE, FINITE).map(
            lambda t: s.one_cycle_momentum(base_momentum=t[1], max_momentum=t[2], **t[0])
        ),
        plateaus(),
    )


@st.composite
def sequences(draw, children):
    parts = draw(st.lists(children, min_size=2, max_size=4))
    milestones = draw(
        st.lists(
            st.integers(1, 3000), min_size=len(parts) - 1, max_size=len(parts) - 1, unique=True
        )
    )
    schedule = parts[0]
    after = 0 if not isinstance(schedule, sequence) else schedule.milestones[-1]
    for part, milestone in zip(parts[1:], sorted(milestones), strict=True):
        schedule = schedule.then(part, after=after + milestone)
    return schedule


def compositions() -> st.SearchStrategy:
    """Leaves, their products and sequences, and products and sequences of these."""

    def grow(children):
        return sequences(children) | st.builds(lambda a, b: a * b, children, children | FINITE)

    return st.recursive(leaves(), grow, max_leaves=8)


EVERY_KIND = {
    name: kind for name, kind in KINDS.items() if kind not in (product, sequence)
}  # what a program calls
