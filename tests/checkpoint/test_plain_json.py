"""Values as JSON and back, with nothing lost."""

from __future__ import annotations

import json
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samestep import schedules
from samestep.checkpoint.file import parse_json
from samestep.checkpoint.plain_json import MAX_DEPTH, Decoder, Encoder


def through_json(value):
    encoder = Encoder()
    text = json.dumps(encoder.encode(value), allow_nan=False)
    return Decoder(lambda place, dtype: encoder.arrays[place]).decode(parse_json(text))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text().filter(lambda key: not key.startswith("$")), inner)
    ),
)


@given(plain)
def test_plain_values_come_back_as_they_were(value):
    assert repr(through_json(value)) == repr(value)  # also tells -0.0, NaN and tuples


@given(st.floats(allow_nan=False))
def test_a_number_keeps_all_its_bits(number):
    assert np.float64(through_json(number)).tobytes() == np.float64(number).tobytes()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (ml_dtypes.bfloat16(0.1), 0.10009765625),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ((np.float16(0.5), [np.int8(1)]), (0.5, [1])),
        (np.float32("inf"), math.inf),
    ],
)
def test_numpy_s_numbers_become_python_s(value, expected):
    assert repr(through_json(value)) == repr(expected)


def test_arrays_are_set_aside_under_their_places():
    tree = {"state": {"w": {"step": 3, "m": np.ones(2), "v": np.zeros(3, np.float32)}}, "b": [()]}
    encoder = Encoder()
    encoded = encoder.encode(tree)
    assert list(encoder.arrays) == ["state/w/m", "state/w/v"]
    assert encoder.arrays["state/w/m"] is tree["state"]["w"]["m"]
    assert encoded["state"]["w"]["v"] == {"$tensor": "float32"}
    assert repr(through_json(tree)) == repr(tree)
    with pytest.raises(TypeError, match="two arrays would be called a/b"):
        through_json({"a/b": np.ones(1), "a": {"b": np.ones(1)}})


def test_schedules_alone_in_tuples_and_shared():
    cosine = schedules.linear_warmup(0.5, 10).then(schedules.cosine(0.5, 90), after=10)
    plateau, other = schedules.reduce_on_plateau(0.1), schedules.reduce_on_plateau(0.1)
    for metric in (1.0, math.inf, 3.0):
        plateau.observe(metric)
        other.observe(metric)
    tree = {"lr": plateau, "groups": [{"lr": plateau, "betas": (cosine, 0.9)}, {"lr": other}]}
    again = through_json(tree)
    assert again == tree
    assert again["lr"] is again["groups"][0]["lr"]
    assert again["lr"] is not again["groups"][1]["lr"]  # equal, but not the same one
    assert again["groups"][0]["betas"][0](50) == cosine(50)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"lr": lambda step: 0.1}, r"^lr is the function .*; samestep\.schedules has functions"),
        ({"a": [0, {"b": object()}]}, "^a/1/b is a object, which cannot be saved"),
        ({"a": {1: 2}}, "^a: a key must be a string without"),
        ({"a": {"$tuple": 2}}, r"^a: .* not '\$tuple'"),
        ({"a": 1j}, "^a is a complex"),
        ({"a": b"bytes"}, "^a is a bytes"),
        ({"a": {1, 2}}, "^a is a set"),
    ],
)
def test_what_cannot_be_saved_is_named(value, message):
    with pytest.raises(TypeError, match=message):
        Encoder().encode(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"$tuple": 3}',
        '{"$tuple": [], "a": 1}',
        '{"$what": 1}',
        '{"$float": "1e5"}',
        '{"$float": 1}',
        '{"$tensor": []}',
        '{"$same": "elsewhere"}',
        '{"$same": []}',
        '{"$schedule": []}',
        '{"$schedule": {"kind": "eval"}}',
        '{"$schedule": {"kind": "constant", "value": {"$float": "nan"}}}',
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    ],
)
def test_what_encode_does_not_write_is_refused(text):
    with pytest.raises((TypeError, ValueError)):
        Decoder(lambda place, dtype: None).decode(json.loads(text))


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": 1, "a": 1}', "[1,]", "1 2", ""])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(ValueError, match=r"is not JSON|there twice|xpecting|Extra|Illegal"):
        parse_json(text)
