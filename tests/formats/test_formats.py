"""``docs/formats.md``: its tables are of the file of figures, and the program that measures
runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("mpmath")
pytest.importorskip("numba")
pytest.importorskip("sklearn")
pytest.importorskip("torch")

import formats_page
import measure
import numpy as np
from candidates import CANDIDATES, through_dynamic4, through_float8
from stored_formats import FORMATS, REFERENCE

PAGE = measure.PAGE.read_text(encoding="utf-8")
FOUND = json.loads(measure.FIGURES.read_text(encoding="utf-8"))
NEAREST = "bfloat16, nearest"
TINY: measure.Settings = {
    "bytes": {},
    "speed": dict(size=20_000, rounds=2),
    "error": dict(steps=(1, 3), shape=(2, 3)),
    "digits": dict(epochs=1, seeds=2),
    "text": dict(steps=2, seeds=2),
}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return measure.measure({}, TINY, [REFERENCE, NEAREST])


def test_every_part_is_measured(found: dict[str, Any]) -> None:
    assert {name: set(figures) for name, figures in found["formats"].items()} == {
        name: set(TINY) for name in (REFERENCE, NEAREST)
    }
    assert found["formats"][REFERENCE]["error"]["3"] < 1e-3
    assert found["formats"][NEAREST]["error"]["1"] == 1  # the step is lost
    for part in ("digits", "text"):
        assert len(set(found["formats"][REFERENCE][part])) == 2  # each seed has a loss of its own


def test_the_tables_have_a_line_for_each_format(found: dict[str, Any]) -> None:
    for table in formats_page.tables(found):
        assert [line.split(" | ")[0][2:] for line in table.splitlines()[2:]] == [REFERENCE, NEAREST]


def test_what_is_not_measured_anew_stays(found: dict[str, Any]) -> None:
    again = measure.measure(found, {"bytes": {}}, [NEAREST])
    assert again["formats"] == found["formats"]
    with pytest.raises(KeyError, match="nope"):
        measure.measure(found, {"bytes": {}}, ["nope"])


def test_the_page_is_of_the_file() -> None:
    assert formats_page.with_tables(PAGE, FOUND) == PAGE, "python tests/formats/measure.py"


def test_control_another_figure_is_another_page() -> None:
    changed = json.loads(json.dumps(FOUND))
    changed["formats"][NEAREST]["text"][0] += 9
    assert formats_page.with_tables(PAGE, changed) != PAGE


def test_the_file_has_every_format_as_it_is_measured() -> None:
    for part, settings in measure.SETTINGS.items():
        assert json.loads(json.dumps(settings)).items() <= FOUND["settings"][part].items()
    for name, form in {**FORMATS, **CANDIDATES}.items():
        assert set(FOUND["formats"][name]) == set(form.parts), name
        assert FOUND["formats"][name]["bytes"] == measure.PARTS["bytes"](form), name


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_keeps_what_its_format_holds(name: str) -> None:
    form, param = CANDIDATES[name], np.ones(300, np.float32)
    optimizer = form.optimizer(param)
    exact = FORMATS[REFERENCE].optimizer(param.copy())
    grad = np.random.default_rng(1).standard_normal(300).astype(np.float32)
    for each in (optimizer, exact):
        each.step(grad)
    (entry,), (other,) = optimizer.inside.state, exact.state
    for key in ("exp_avg", "exp_avg_sq"):
        np.testing.assert_array_equal(entry[key], form.through(other[key]))
        assert (entry[key] != other[key]).mean() > 0.9  # control


def test_candidates_round_to_the_nearest_number_of_their_format() -> None:
    parts = np.array([448, 17, -17.1, 0.0009, 0], np.float32)
    assert through_float8(parts).tolist() == [448, 16, -18, 0, 0]
    assert through_float8(abs(parts)).tolist() == [448, 16, 18, 2**-9, 0]  # no square becomes 0
    parts = np.array([1, 0.3, -0.97, 0.001], np.float32)
    assert through_dynamic4(parts).tolist() == np.float32([1, 0.2125, -0.8875, 0]).tolist()
    assert through_dynamic4(abs(parts)).tolist() == [1, 5 / 16, 1, 1 / 16]


@pytest.mark.parametrize("name", [REFERENCE, "bfloat16, stochastic"])
def test_errors_in_the_file_are_those_of_now(name: str) -> None:
    settings = measure.SETTINGS["error"] | dict(steps=(1, 10))
    now = measure.PARTS["error"](FORMATS[name], **settings)
    kept = FOUND["formats"][name]["error"]
    assert {str(step): error for step, error in now.items()} == {n: kept[n] for n in ("1", "10")}
