"""The face of schedules: calling, printing, comparing, copying, JSON, composing."""

from __future__ import annotations

import copy
import doctest
import json
import math
import pickle
import re

import numpy as np
import pytest
from helpers import ROOT, run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from samestep import schedules as s
from samestep.schedules.schedule import KINDS, product, sequence
from schedule_strategies import EVERY_KIND, STEPS, compositions, drawn

DOCS = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")


def text(schedule) -> str:
    """All of it, with -0.0 apart from 0.0."""
    return json.dumps(schedule.to_json(), allow_nan=False)


def values(schedule, steps):
    """Its values as bits, and what it says where it has none."""
    found = []
    for step in steps:
        try:
            found.append(schedule(step).hex())
        except ValueError as error:
            found.append(str(error))
    return found


def same(a, b) -> bool:
    """Equal, to the bit and at many steps."""
    steps = [0, 1, 2, 10, 99, 1000, 10**6, 2**53]
    return a == b and text(a) == text(b) and values(a, steps) == values(b, steps)


# ---- copies of all kinds


@drawn
@given(schedule=compositions())
def test_json_pickle_and_deepcopy_give_the_same_schedule(schedule):
    assert same(s.from_json(json.loads(text(schedule))), schedule)
    assert same(pickle.loads(pickle.dumps(schedule)), schedule)
    assert same(copy.deepcopy(schedule), schedule)


@drawn
@given(schedule=compositions())
def test_what_is_printed_makes_it_again(schedule):
    """Without what a plateau has seen."""
    again = eval(repr(schedule), vars(s))
    assert repr(again) == repr(schedule)
    if not s.plateaus(schedule):
        assert same(again, schedule)


@drawn
@given(a=compositions(), b=compositions())
def test_equal_means_the_same_json(a, b):
    assert (a == b) == (a.to_json() == b.to_json())


def test_control_another_bit_is_another_schedule():
    a = s.cosine(0.1, T_max=10)
    assert same(a, s.cosine(0.1, T_max=10))
    assert not same(a, s.cosine(np.nextafter(0.1, 1.0), T_max=10))
    assert not same(a, s.cosine(0.1, T_max=10, eta_min=-0.0))
    assert not same(a, a * 1.0)
    assert s.constant(1.0) != 1.0
    assert s.step_decay(1.0, 5, 0.5) != s.exponential(1.0, 0.5)


def test_equal_schedules_have_equal_hashes():
    a, b = (s.cosine(0.1, T_max=10).then(2 * s.linear(0.1), after=3) for _ in range(2))
    assert hash(a) == hash(b)


def test_every_kind_is_drawn_and_documented_and_public():
    assert set(EVERY_KIND) == set(s.__all__) - {"Schedule", "from_json", "plateaus"}
    assert set(KINDS) == set(EVERY_KIND) | {"product", "sequence"}
    table = {m[1] for m in re.finditer(r"^\| `(\w+)\(", DOCS, re.MULTILINE)}
    assert table == set(EVERY_KIND)
    seen: set[str] = set()

    @settings(drawn, max_examples=300)  # few draws depend on which modules Hypothesis has seen
    @given(schedule=compositions())
    def look(schedule):
        parts = [schedule]
        while parts:
            part = parts.pop()
            seen.add(part.kind)
            parts += part.parts

    look()
    assert seen == set(KINDS)


# ---- calling


@drawn
@given(schedule=compositions(), step=STEPS)
def test_a_value_is_a_finite_float_and_any_integer_is_a_step(schedule, step):
    (value,) = values(schedule, [step])
    if "not finite" not in value:
        assert type(schedule(step)) is float
        assert np.isfinite(schedule(step))
        assert schedule(np.int64(step)) == schedule(step)


@pytest.mark.parametrize("kind", EVERY_KIND.values())
def test_schedules_cannot_be_changed(kind):
    arguments = {"base": 1.0, "T_max": 5, "value": 1.0, "max_value": 1.0, "total_steps": 90}
    arguments |= {"T_0": 5, "gamma": 0.5, "step_size": 5, "milestones": [5], "warmup_steps": 5}
    arguments |= {"decay_steps": 5}
    names = kind.__dataclass_fields__
    schedule = kind(**{name: value for name, value in arguments.items() if name in names})
    for name in names:
        with pytest.raises(AttributeError, match="cannot assign"):
            setattr(schedule, name, 2)


def test_numbers_become_floats():
    schedule = s.cosine(np.float32(0.5), T_max=np.int32(10), eta_min=0)
    assert [type(value) for value in vars(schedule).values()] == [float, int, float]
    assert repr(schedule) == "cosine(base=0.5, T_max=10, eta_min=0.0)"


def test_it_brings_numpy_and_nothing_heavier():
    brought = run_python(
        "import sys, samestep.schedules\n"
        "print('torch' in sys.modules, 'numba' in sys.modules, 'json' in sys.modules)"
    )
    assert brought.startswith("False False")


# ---- composing


@drawn
@given(a=compositions(), b=compositions(), step=st.integers(0, 3000))
def test_a_product_multiplies_from_left_to_right(a, b, step):
    schedule = a * b
    parts = values(schedule, [step]), *(values(factor, [step]) for factor in schedule.factors)
    if not any("not finite" in value for (value,) in parts):
        whole, *factors = (float.fromhex(value) for (value,) in parts)
        assert whole == math.prod(factors)


@drawn
@given(a=compositions(), b=compositions(), after=st.integers(1, 2000), step=st.integers(0, 4000))
def test_a_sequence_is_one_and_then_the_other_from_its_beginning(a, b, after, step):
    if isinstance(a, sequence):
        after += a.milestones[-1]
    schedule = a.then(b, after=after)
    part, own = (a, step) if step < after else (b, step - after)
    if "not finite" not in values(part, [own])[0]:
        assert values(schedule, [step]) == values(part, [own])


def test_products_and_sequences_become_flat():
    a, b, c = (s.constant(value) for value in (0.1, 0.2, 0.3))
    assert (a * (b * c)).factors == ((a * b) * c).factors == (a, b, c)
    assert (a * b * c)(0) == 0.1 * 0.2 * 0.3  # from left to right
    schedule = a.then(b, after=10).then(c, after=30)
    assert schedule.schedules == (a, b, c)
    assert [schedule(step) for step in (0, 9, 10, 29, 30, 2**53)] == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]
    assert repr(schedule) == (
        "constant(value=0.1).then(constant(value=0.2), after=10)"
        ".then(constant(value=0.3), after=30)"
    )
    assert repr((a * b).then(2, after=5) * c) == (
        "(constant(value=0.1) * constant(value=0.2)).then(constant(value=2.0), after=5)"
        " * constant(value=0.3)"
    )


@pytest.mark.parametrize("number", [2, 0.5, np.float32(0.5), np.float64(0.5), np.int64(2)])
def test_any_number_is_a_factor_and_a_schedule_to_go_on_with(number):
    schedule = s.linear(0.1)
    assert number * schedule == s.constant(number) * schedule
    assert schedule * number == schedule * s.constant(number)
    assert schedule.then(number, after=5) == schedule.then(s.constant(number), after=5)
    assert isinstance(number * schedule, product)


# ---- documentation


def test_the_examples_in_the_docs_give_what_they_say():
    results = doctest.testmod(s, verbose=False)
    assert results.attempted >= 3
    assert not results.failed
    program, _epsilon = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    names: dict = {}
    exec(program, names)
    assert names["lr"](0) == 1e-5
    assert s.from_json(names["both"].to_json()) == names["both"]
    assert names["plateau"](0) == 0.1
