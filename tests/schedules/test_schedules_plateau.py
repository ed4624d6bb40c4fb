"""Reduce on plateau: against torch's ReduceLROnPlateau, and what becomes of its memory."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samestep import schedules as s
from schedule_strategies import drawn
from torch_schedulers import require_torch


@pytest.fixture(scope="module")
def torch():
    return require_torch()


METRICS = st.lists(
    st.floats(-10, 10).map(lambda x: round(x, 1))
    | st.floats(0.99, 1.01)
    | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e300]),
    max_size=60,
)


@drawn
@given(
    lr=st.floats(1e-6, 10),
    options=st.fixed_dictionaries(
        {},
        optional=dict(
            mode=st.sampled_from(["min", "max"]),
            factor=st.floats(0, 1, exclude_max=True),
            patience=st.integers(0, 5),
            threshold=st.sampled_from([0.0, 1e-4, 0.1, 0.9]),
            threshold_mode=st.sampled_from(["rel", "abs"]),
            cooldown=st.integers(0, 5),
            eps=st.sampled_from([0.0, 1e-8, 1e-3]),
        ),
    ),
    low=st.floats(0, 1),
    metrics=METRICS,
)
def test_plateau_reduces_when_torch_does(torch, lr, options, low, metrics):
    """The same bits, and the same memory, after every observation."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    low *= 0.1 * lr
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=low, **options)
    ours = s.reduce_on_plateau(lr, min_value=low, **options)
    for step, metric in enumerate(metrics):
        assert ours(step) == optimizer.param_groups[0]["lr"]
        theirs.step(metric)
        ours.observe(metric)
        assert (ours.memory.best, ours.memory.num_bad_epochs, ours.memory.cooldown_counter) == (
            theirs.best,
            theirs.num_bad_epochs,
            theirs.cooldown_counter,
        )
    assert ours(0) == optimizer.param_groups[0]["lr"]


def test_a_reduction_by_just_eps_is_left_out_as_by_torch(torch):
    for eps, expected in ((0.5, 1.0), (0.49, 0.5)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        options = dict(factor=0.5, patience=0, eps=eps)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        ours = s.reduce_on_plateau(1.0, **options)
        for _ in range(2):
            theirs.step(1.0)
            ours.observe(1.0)
        assert ours(0) == optimizer.param_groups[0]["lr"] == expected


def test_control_a_plateau_of_other_patience_differs(torch):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
    ours = {patience: s.reduce_on_plateau(1.0, patience=patience) for patience in (2, 3, 4)}
    same = dict.fromkeys(ours, True)
    for _ in range(6):
        theirs.step(1.0)
        for patience, plateau in ours.items():
            plateau.observe(1.0)
            same[patience] &= plateau(0) == optimizer.param_groups[0]["lr"]
    assert same == {2: False, 3: True, 4: False}


# ---- memory


def observed(*metrics, **options):
    plateau = s.reduce_on_plateau(1.0, patience=1, **options)
    for metric in metrics:
        plateau.observe(metric)
    return plateau


def copies(schedule):
    yield copy.deepcopy(schedule)
    yield pickle.loads(pickle.dumps(schedule))
    yield s.from_json(json.loads(json.dumps(schedule.to_json(), allow_nan=False, sort_keys=True)))


def test_the_memory_belongs_to_equality_and_is_not_printed():
    assert observed(1.0) != observed()
    assert observed(1.0) == observed(1.0)
    assert observed(1.0, 2.0).memory.num_bad_epochs == 1
    assert repr(observed(1.0)) == repr(observed())
    with pytest.raises(TypeError, match="unhashable"):
        hash(observed())


@pytest.mark.parametrize("best", [[], [1.0], [math.inf], [-math.inf], [math.nan]])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_copy_goes_on_as_the_original_would(mode, best):
    metrics = [*best, 0.5, 0.5, 0.7, 0.5, math.nan, 0.6, 0.6]
    for cut in range(len(metrics)):
        original = observed(*metrics[:cut], mode=mode, cooldown=1)
        for other in copies(original):
            assert other == original
            for metric in metrics[cut:]:
                other.observe(metric)
            assert other == observed(*metrics, mode=mode, cooldown=1)
        assert original == observed(*metrics[:cut], mode=mode, cooldown=1)  # copies share nothing


def test_plateaus_are_found_wherever_they_are_and_each_once():
    a, b = observed(1.0), observed(2.0)
    schedule = (a * s.cosine(1.0, T_max=10) * a).then(0.5 * (b * a).then(b, after=5), after=10)
    assert [p is q for p, q in zip(s.plateaus(schedule), [a, b], strict=True)] == [True, True]
    assert s.plateaus(s.cosine(1.0, T_max=10)) == []
    assert s.plateaus(a) == [a]


def test_a_plateau_in_a_product_can_be_observed_after_it_came_from_json():
    plateau = observed(1.0)
    schedule = s.linear_warmup(0.1, 10) * plateau
    other = s.from_json(schedule.to_json())
    for _ in range(2):
        plateau.observe(2.0)
        for found in s.plateaus(other):
            found.observe(2.0)
    assert schedule(20) == other(20) == 0.1 * 0.1
    assert schedule == other
    (found,) = s.plateaus(other)
    found.observe(3.0)
    assert schedule != other  # a memory of its own


def test_plateaus_remain_one_in_a_deep_copy():
    plateau = observed()
    other = copy.deepcopy(plateau * plateau)
    assert len(s.plateaus(other)) == 1


@pytest.mark.parametrize("metric", [np.float32(2.0), np.float64(2.0), 2, np.array(2.0)])
def test_a_metric_is_whatever_float_takes(metric):
    assert observed(metric) == observed(2.0)


@pytest.mark.parametrize("metric", ["2.0", None, [2.0], 2j, np.ones(3)])
def test_anything_else_is_refused_and_changes_nothing(metric):
    plateau = observed(1.0)
    with pytest.raises(TypeError, match=r"a metric is a number, not|0-dimensional|length-1"):
        plateau.observe(metric)
    assert plateau == observed(1.0)


def test_its_value_does_not_depend_on_the_step():
    plateau = observed(1.0, 1.0, 1.0)
    assert {plateau(step) for step in (0, 1, 1000, 2**53)} == {0.1}
    with pytest.raises(ValueError, match="step must be at least 0, not -1"):
        plateau(-1)
