"""What cannot be a schedule is refused when it is made, with a message that says why."""

from __future__ import annotations

import math

import numpy as np
import pytest
import samestep as ss
from samestep import schedules as s

ONE = s.constant(1.0)
WSD = s.warmup_stable_decay
ARGUMENTS = [
    (lambda: s.constant("1"), TypeError, "constant: value must be a number, not '1'"),
    (lambda: s.constant(True), TypeError, "constant: value must be a number, not True"),
    (lambda: s.constant(None), TypeError, "constant: value must be a number, not None"),
    (lambda: s.constant(1j), TypeError, "constant: value must be a number, not 1j"),
    (lambda: s.constant(np.ones(2)), TypeError, r"constant: value must be a number, not array\("),
    (lambda: s.constant(ONE), TypeError, r"constant: value must be a number, not constant\("),
    (lambda: s.constant(10**400), TypeError, "constant: value must be a number, not 1000"),
    (lambda: s.constant(math.nan), ValueError, "constant: value must be finite, not nan"),
    (lambda: s.constant(math.inf), ValueError, "constant: value must be finite, not inf"),
    (lambda: s.linear(1, -0.1), ValueError, r"linear: start_factor must be in \[0, inf\), not -0.1"),
    (lambda: s.linear(1, 1, -1), ValueError, r"linear: end_factor must be in \[0, inf\), not -1"),
    (lambda: s.linear(1, 1, 1, 0), ValueError, "linear: total_iters must be at least 1, not 0"),
    (lambda: s.linear(1, 1, 1, 5.0), TypeError, "linear: total_iters must be a whole number, not 5.0"),
    (lambda: s.linear(1, 1, 1, True), TypeError, "linear: total_iters must be a whole number, not T"),
    (lambda: s.linear_warmup(1, -3), ValueError, "linear_warmup: warmup_steps must be at least 1, n"),
    (lambda: s.linear_warmup(1, 2, math.nan), ValueError, "linear_warmup: warmup_init must be finite"),
    (lambda: s.polynomial(1, 5, -1), ValueError, r"polynomial: power must be in \[0, inf\), not -1"),
    (lambda: s.polynomial(1, -5), ValueError, "polynomial: total_iters must be at least 1, not -5"),
    (lambda: s.cosine(1, T_max=0), ValueError, "cosine: T_max must be at least 1, not 0"),
    (lambda: s.cosine(1, T_max=2**53 + 1), ValueError, r"cosine: T_max must be at most 2\*\*53"),
    (lambda: s.cosine(1, 5, "0"), TypeError, "cosine: eta_min must be a number, not '0'"),
    (lambda: s.cosine_restarts(1, 0), ValueError, "cosine_restarts: T_0 must be at least 1, not 0"),
    (lambda: s.cosine_restarts(1, 5, 0), ValueError, "cosine_restarts: T_mult must be at least 1"),
    (lambda: s.cosine_restarts(1, 5, 1.5), TypeError, "T_mult must be a whole number, not 1.5"),
    (lambda: s.exponential(1, -0.5), ValueError, r"exponential: gamma must be in \[0, inf\), not -0"),
    (lambda: s.exponential(1, math.inf), ValueError, "exponential: gamma must be finite, not inf"),
    (lambda: s.step_decay(1, -1), ValueError, "step_decay: step_size must be at least 1, not -1"),
    (lambda: s.multi_step_decay(1, 5), TypeError, "milestones must be a list of whole numbers, not 5"),
    (lambda: s.multi_step_decay(1, [5, 3]), ValueError, r"milestones must be sorted, not \(5, 3\)"),
    (lambda: s.multi_step_decay(1, [-1]), ValueError, r"milestones\[0\] must be at least 0, not -1"),
    (lambda: s.multi_step_decay(1, [1, 2.0]), TypeError, r"milestones\[1\] must be a whole number, n"),
    (lambda: s.inverse_sqrt(1, 0), ValueError, "inverse_sqrt: warmup_steps must be at least 1, not 0"),
    (lambda: WSD(1, 10, 6, 5), ValueError, "warmup_steps=6 and decay_steps=5 are more than total_st"),
    (lambda: WSD(1, 10, 11, 0), ValueError, "warmup_steps=11 and decay_steps=0 are more than total_"),
    (lambda: WSD(1, 10, -1, 0), ValueError, "warmup_steps must be at least 0, not -1"),
    (lambda: WSD(1, 10, 1, 1, "sqrt"), ValueError, "must be one of 'linear', 'cos', '1-sqrt', not 's"),
    (lambda: s.one_cycle(1, 0), ValueError, "one_cycle: total_steps must be at least 1, not 0"),
    (lambda: s.one_cycle(1, 9, 1.1), ValueError, r"one_cycle: pct_start must be in \[0, 1\], not 1.1"),
    (lambda: s.one_cycle(1, 9, 0.3, "exp"), ValueError, "must be one of 'cos', 'linear', not 'exp'"),
    (lambda: s.one_cycle(1, 9, div_factor=0), ValueError, r"div_factor must be in \(0, inf\), not 0"),
    (lambda: s.one_cycle(1, 9, final_div_factor=0), ValueError, r"final_div_factor must be in \(0, i"),
    (lambda: s.one_cycle(1, 9, three_phase=1), TypeError, "three_phase must be True or False, not 1"),
    (lambda: s.one_cycle(1, 9, 0.6, three_phase=True), ValueError, "three phases need .* not pct_sta"),
    (lambda: s.one_cycle(1, 9, 0.1, three_phase=True), ValueError, "=0.1 and total_steps=9"),
    (lambda: s.one_cycle_momentum(9, 0.1, three_phase=True), ValueError, "one_cycle_momentum: three"),
    (lambda: s.one_cycle_momentum(9, base_momentum="x"), TypeError, "base_momentum must be a number"),
    (lambda: s.reduce_on_plateau(1, "low"), ValueError, "mode must be one of 'min', 'max', not 'low'"),
    (lambda: s.reduce_on_plateau(1, factor=1), ValueError, r"factor must be in \[0, 1\), not 1"),
    (lambda: s.reduce_on_plateau(1, patience=-1), ValueError, "patience must be at least 0, not -1"),
    (lambda: s.reduce_on_plateau(1, cooldown=0.5), TypeError, "cooldown must be a whole number, not"),
    (lambda: s.reduce_on_plateau(1, threshold=-1), ValueError, r"threshold must be in \[0, inf\), no"),
    (lambda: s.reduce_on_plateau(1, threshold=1), ValueError, "relative threshold must be less than "),
    (lambda: s.reduce_on_plateau(1, threshold_mode="r"), ValueError, "threshold_mode must be one of "),
    (lambda: s.reduce_on_plateau(1, eps=math.inf), ValueError, "eps must be finite, not inf"),
    (lambda: s.reduce_on_plateau(1, min_value=2), ValueError, "min_value=2 must not be above base=1"),
    (lambda: ONE.then("b", after=1), TypeError, r"schedules\[1\] must be a schedule or a number, not"),
    (lambda: ONE.then(True, after=1), TypeError, r"schedules\[1\] must be a schedule or a number, no"),
    (lambda: ONE.then(ONE, after=0), ValueError, r"milestones\[0\] must be at least 1, not 0"),
    (lambda: ONE.then(ONE, after=2.5), TypeError, r"milestones\[0\] must be a whole number, not 2.5"),
    (lambda: ONE * "x", TypeError, "can't multiply|unsupported operand"),
    (lambda: "x" * ONE, TypeError, "can't multiply|unsupported operand"),
    (lambda: np.ones(3) * ONE, TypeError, "unsupported operand"),
    (lambda: ONE + ONE, TypeError, r"can be multiplied.* or follow one another.*then\(other, after"),
    (lambda: 1 - ONE, TypeError, "not added, subtracted or divided; see docs/howto/schedules.md"),
    (lambda: ONE / 2, TypeError, r"can be multiplied, as in constant\(...\) \* 0.5"),
    (lambda: s.cosine(1, t_max=5), TypeError, "cosine takes no argument 't_max'; did you mean 'T_m"),
    (lambda: s.linear_warmup(1, warmup=5), TypeError, "'warmup'; did you mean 'warmup_steps'"),
    (lambda: ONE.then(2, before=5), TypeError, "then takes no argument 'before'; .* following, after"),
    (lambda: ONE * math.nan, ValueError, "constant: value must be finite, not nan"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), ARGUMENTS)
def test_a_wrong_argument_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_control_right_arguments_are_not_refused():
    assert s.cosine(1, T_max=2**53)(2**53) == 0.0
    assert WSD(1, 10, 5, 5)(10) == 0.0
    assert s.one_cycle(1, 10, 0.5, three_phase=True)(4) == 1.0
    assert s.reduce_on_plateau(1, threshold=1, threshold_mode="abs", min_value=1)(0) == 1.0
    assert s.multi_step_decay(1, [])(5) == 1.0


def test_a_class_in_the_place_of_a_schedule_is_told_to_be_called():
    with pytest.raises(TypeError, match=r"lr is the class cosine; call it: lr=cosine\(...\)"):
        ss.SGD(np.ones(3), lr=s.cosine)


def test_parts_of_a_sequence_that_would_never_come_are_refused():
    schedule = ONE.then(2, after=10)
    for after in (10, 5):
        message = f"what comes after {after} steps must come later than what comes after 10"
        with pytest.raises(ValueError, match=message):
            schedule.then(3, after=after)
    assert schedule.then(3, after=11)(11) == 3.0


STEPS = [
    (-1, ValueError, "step must be at least 0, not -1"),
    (1.0, TypeError, "step must be a whole number, not 1.0"),
    (True, TypeError, "step must be a whole number, not True"),
    ("1", TypeError, "step must be a whole number, not '1'"),
    (None, TypeError, "step must be a whole number, not None"),
    (2**53 + 1, ValueError, r"step must be at most 2\*\*53"),
    (10**400, ValueError, r"step must be at most 2\*\*53"),
]


@pytest.mark.parametrize(("step", "error", "message"), STEPS)
def test_a_wrong_step_is_refused(step, error, message):
    for schedule in (ONE, ONE * 2, ONE.then(2, after=5), s.reduce_on_plateau(1.0)):
        with pytest.raises(error, match=message):
            schedule(step)


@pytest.mark.parametrize(
    "schedule",
    [
        s.exponential(1.0, 2.0),  # overflows in pow
        s.exponential(1e300, 1.01),  # in the product
        s.exponential(0.0, 2.0),
        s.constant(1e200) * s.step_decay(1.0, 50, 1e100),
        s.constant(0.0) * s.exponential(1e300, 1.01),  # 0 times infinity
    ],
)
def test_a_value_that_is_not_finite_is_refused(schedule):
    assert math.isfinite(schedule(10))
    with pytest.raises(ValueError, match=r"step 2000: the value of .* is not finite"):
        schedule(2000)
