"""One cycle against torch's OneCycleLR, in all variants, its momentum included."""

from __future__ import annotations

import pytest
from samestep import schedules as s
from torch_schedulers import DRAWS, STEPS, Draw, assert_agrees, require_torch, torch_values


@pytest.fixture(scope="module")
def torch():
    return require_torch()


@pytest.mark.parametrize("seed", range(DRAWS))
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_one_cycle_and_its_momentum(torch, strategy, three_phase, seed):
    draw = Draw(seed)
    n, top = int(draw.rng.integers(10, STEPS)), draw.size(1e-4, 10)
    pct_start = draw.between(0.11, 0.5) if three_phase else draw.between(0, 1)
    common = dict(pct_start=pct_start, anneal_strategy=strategy, three_phase=three_phase)
    factors = dict(div_factor=draw.size(2, 100), final_div_factor=draw.size(0.1, 1e5))
    momenta = dict(base_momentum=draw.between(0, 1), max_momentum=draw.between(0, 1))
    theirs = torch_values(
        torch,
        lambda L, o: L.OneCycleLR(o, top, total_steps=n, **common, **factors, **momenta),
        lr=top,
        steps=n,
    )
    assert_agrees(s.one_cycle(top, n, **common, **factors), theirs["lr"])
    assert_agrees(s.one_cycle_momentum(n, **common, **momenta), theirs["momentum"])


@pytest.mark.parametrize("pct_start", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("n", [3, 10])
def test_one_cycle_of_few_steps(torch, n, pct_start):
    """With torch's defaults for everything else."""
    theirs = torch_values(
        torch,
        lambda L, o: L.OneCycleLR(o, 0.5, total_steps=n, pct_start=pct_start),
        lr=1.0,
        steps=n,
    )
    assert_agrees(s.one_cycle(0.5, n, pct_start), theirs["lr"])
    assert_agrees(s.one_cycle_momentum(n, pct_start), theirs["momentum"])


def test_one_cycle_holds_its_last_value_where_torch_raises(torch):
    with pytest.raises(ValueError, match="Tried to step 11 times"):
        torch_values(torch, lambda L, o: L.OneCycleLR(o, 0.5, total_steps=10), lr=1.0, steps=12)
    rate, momentum = s.one_cycle(0.5, 10), s.one_cycle_momentum(10)
    for step in (9, 10, 11, 2**53):
        assert rate(step) == 0.5 / 25 / 1e4
        assert momentum(step) == 0.95


def test_one_cycle_that_rises_for_one_step_begins_at_the_top_where_torch_divides_by_zero(torch):
    with pytest.raises(ZeroDivisionError):
        torch_values(torch, lambda L, o: L.OneCycleLR(o, 0.5, 10, pct_start=0.1), lr=1.0, steps=1)
    assert s.one_cycle(0.5, 10, 0.1)(0) == 0.5
    assert s.one_cycle(0.5, 10, 0.1)(1) < 0.5
