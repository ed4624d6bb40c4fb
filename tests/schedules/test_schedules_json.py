"""Records that are not a schedule: named, refused, and never the end of the process."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samestep import schedules as s
from samestep.schedules.schedule import MAX_DEPTH, MAX_SIZE
from schedule_strategies import compositions, drawn

ONE = s.constant(1.0)


def nested(depth: int) -> dict:
    record = s.constant(1.0).to_json()
    for _ in range(depth - 1):
        record = {"kind": "sequence", "schedules": [s.constant(1.0).to_json(), record], "milestones": [1]}  # fmt: skip
    return record


def test_depth_is_limited():
    schedule = s.from_json(nested(MAX_DEPTH))
    assert schedule.depth == MAX_DEPTH
    assert s.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule
    with pytest.raises(ValueError, match="schedules may be nested 32 deep; these are deeper"):
        ONE.then(schedule, after=1)
    for depth in (MAX_DEPTH + 1, 10**5):
        with pytest.raises(ValueError, match="schedules may be nested 32 deep; these are deeper"):
            s.from_json(nested(depth))


def test_size_is_limited():
    schedule = ONE
    for _ in range(MAX_SIZE - 2):
        schedule = schedule * ONE
    assert schedule.size == MAX_SIZE
    assert s.from_json(schedule.to_json()) == schedule
    with pytest.raises(ValueError, match="product: at most 1000 schedules in one, not 1001"):
        schedule * ONE
    with pytest.raises(ValueError, match="sequence: at most 1000 schedules in one, not 1002"):
        schedule.then(ONE, after=1)


def test_a_record_that_holds_itself_or_doubles_at_every_level_is_refused():
    endless: dict = {"kind": "product"}
    endless["factors"] = [endless, endless]
    with pytest.raises(ValueError, match="nested 32 deep"):
        s.from_json(endless)
    doubling = s.constant(1.0).to_json()
    for _ in range(30):
        doubling = {"kind": "sequence", "schedules": [doubling, doubling], "milestones": [1]}
    with pytest.raises(ValueError, match=r"must come later|at most 1000 schedules"):
        s.from_json(doubling)
    doubling = s.constant(1.0).to_json()
    for _ in range(30):
        doubling = {"kind": "product", "factors": [doubling, doubling]}
    with pytest.raises(ValueError, match="at most 1000 schedules"):
        s.from_json(doubling)


# ---- entries


def deep_list(depth: int = 10**5) -> list:
    found: list = []
    for _ in range(depth):
        found = [found]
    return found


COSINE = s.cosine(0.1, T_max=10).to_json()
PLATEAU = s.reduce_on_plateau(0.1).to_json()
MEMORY = PLATEAU["memory"]
RECORDS = [
    (None, TypeError, "a schedule is a dict with a 'kind', not None"),
    (0.1, TypeError, "a schedule is a dict with a 'kind', not 0.1"),
    ([], TypeError, r"a schedule is a dict with a 'kind', not \[\]"),
    ({}, TypeError, r"a schedule is a dict with a 'kind', not \{\}"),
    ({"kind": 5}, TypeError, "a schedule is a dict with a 'kind', not {'kind': 5}"),
    ({"kind": "cosin"}, ValueError, "there is no schedule of kind 'cosin'; there are constant, p"),
    ({"kind": "x" * 10**6}, ValueError, r"there is no schedule of kind 'x+\.\.\.x+'; there are"),
    ({"kind": "__import__"}, ValueError, "there is no schedule of kind '__import__'"),
    ({"kind": "Schedule"}, ValueError, "there is no schedule of kind 'Schedule'"),
    ({"kind": "cosine", "base": 0.1}, ValueError, "cosine: the entries T_max, eta_min are missing"),
    ({**COSINE, "color": 1}, ValueError, r"cosine has no entries \['color'\]"),
    ({**COSINE, 5: 1}, ValueError, r"cosine has no entries \[5\]"),
    ({**COSINE, "factors": []}, ValueError, r"cosine has no entries \['factors'\]"),
    ({**COSINE, "base": None}, TypeError, "cosine: base must be a number, not None"),
    ({**COSINE, "base": math.nan}, ValueError, "cosine: base must be finite, not nan"),
    ({**COSINE, "base": deep_list()}, TypeError, r"cosine: base must be a number, not \[\[\[\["),
    ({**COSINE, "base": COSINE}, TypeError, r"cosine: base must be a number, not \{'T_max'"),
    ({**COSINE, "T_max": 10.0}, TypeError, "cosine: T_max must be a whole number, not 10.0"),
    ({"kind": "product", "factors": 5}, TypeError, "factors must be two schedules or more, not 5"),
    ({"kind": "product", "factors": []}, TypeError, "factors must be two schedules or more, not "),
    ({"kind": "product", "factors": [COSINE]}, TypeError, "factors must be two schedules or mor"),
    ({"kind": "product", "factors": [2, COSINE]}, TypeError, "a dict with a 'kind', not 2"),
    ({"kind": "product", "factors": deep_list()}, TypeError, r"a dict with a 'kind', not \[\["),
    ({"kind": "sequence", "schedules": [COSINE] * 2, "milestones": []}, ValueError,
     "sequence: 2 schedules need 1 milestones, not 0"),
    ({"kind": "sequence", "schedules": [COSINE] * 3, "milestones": [5, 3]}, ValueError,
     r"sequence: milestones must be sorted, not \(5, 3\)"),
    ({"kind": "sequence", "schedules": [COSINE] * 3, "milestones": [5, 5]}, ValueError,
     "sequence: what comes after 5 steps must come later than what comes after 5"),
    ({"kind": "sequence", "schedules": [COSINE] * 2, "milestones": 5}, TypeError,
     "sequence: milestones must be a list of whole numbers, not 5"),
    ({**PLATEAU, "memory": None}, ValueError, "memory must have value, best, num_bad_epochs, coo"),
    ({**PLATEAU, "memory": {"value": 1.0}}, ValueError, "memory must have value, best, num_bad_e"),
    ({**PLATEAU, "memory": {**MEMORY, "x": 1}}, ValueError, "memory must have value, best, num_ba"),
    ({**PLATEAU, "memory": {**MEMORY, "value": math.inf}}, ValueError, "memory.value must be fin"),
    ({**PLATEAU, "memory": {**MEMORY, "best": math.nan}}, ValueError, "memory.best must not be NaN"),
    ({**PLATEAU, "memory": {**MEMORY, "best": "nan"}}, TypeError,
     "memory.best must be a number, 'inf' or '-inf', not 'nan'"),
    ({**PLATEAU, "memory": {**MEMORY, "num_bad_epochs": -1}}, ValueError,
     "memory.num_bad_epochs must be at least 0, not -1"),
    ({**PLATEAU, "memory": {**MEMORY, "cooldown_counter": 0.5}}, TypeError,
     "memory.cooldown_counter must be a whole number, not 0.5"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "error", "message"), RECORDS, ids=range(len(RECORDS)))
def test_a_wrong_record_is_named(record, error, message):
    with pytest.raises(error, match=message) as raised:
        s.from_json(record)
    assert len(str(raised.value)) < 600


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4)
    ),
    max_leaves=5,
)


@drawn
@given(schedule=compositions(), data=st.data())
def test_a_mutated_record_is_a_schedule_or_a_clear_error(schedule, data):
    record = json.loads(json.dumps(schedule.to_json()))
    place = record
    while True:  # anywhere in it
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys)) if keys else None
        if key is None:
            return
        inner = place[key]
        if not isinstance(inner, (dict, list)) or data.draw(st.booleans()):
            break
        place = inner
    if isinstance(place, dict) and data.draw(st.booleans()):
        place[data.draw(st.text(max_size=5))] = place.pop(key)
    else:
        place[key] = data.draw(JSON)
    try:
        found = s.from_json(record)
    except (TypeError, ValueError):
        return
    assert s.from_json(found.to_json()) == found
