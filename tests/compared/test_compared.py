"""``docs/compared.md``: its tables are of the file of figures, which has every rule, and the
program that measures runs."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from helpers import ROOT

pytest.importorskip("numba")
pytest.importorskip("sklearn")

sys.path.insert(0, str(ROOT / "tests" / "formats"))
import compared_page
import measure_costs
import measure_rules
import numpy as np
from compared_rules import RULES, hyper_of
from formats_page import replaced
from minimized import QUADRATIC
from steps_down import fewest_steps

PAGE = compared_page.PAGE.read_text(encoding="utf-8")
FOUND = compared_page.read(compared_page.OF_RULES)
OF_TEXT = compared_page.read(compared_page.OF_TEXT)
OF_COSTS = compared_page.read(compared_page.OF_COSTS)
OF_PRODUCTS = compared_page.read(compared_page.OF_PRODUCTS)
TINY: measure_rules.Settings = {
    "quadratic": dict(share=0.5, rates=(0.1,), steps=50),
    "rosenbrock": dict(share=1e-9, rates=(0.1,), steps=5),
    "digits": dict(rates=(0.01, 0.1), epochs=1, seeds=2),
}
MEASURED = ["adamw", "adamw_schedulefree"]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return measure_rules.measure({}, TINY, MEASURED)


def test_every_part_is_measured(found: dict[str, Any]) -> None:
    assert [*found["rules"]] == MEASURED
    for figures in found["rules"].values():
        assert figures["quadratic"]["lr"] == 0.1
        assert figures["rosenbrock"] is None  # so little in five steps
        assert len(set(figures["digits"]["losses"])) == 2  # each seed has a loss of its own


def test_the_table_has_a_line_for_each_rule(found: dict[str, Any]) -> None:
    lines = compared_page.of_rules(found).splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == MEASURED
    assert " – | – " in lines[0]


def test_what_is_not_measured_anew_stays(found: dict[str, Any]) -> None:
    again = measure_rules.measure(found, {"quadratic": TINY["quadratic"]}, ["adamw"])
    assert again["rules"] == found["rules"]
    with pytest.raises(KeyError, match="nope"):
        measure_rules.measure(found, TINY, ["nope"])


def page_of(*figures: Any) -> str:
    return replaced(PAGE, compared_page.tables(*figures))


def test_the_page_is_of_the_files() -> None:
    made = page_of(FOUND, OF_TEXT, OF_COSTS, OF_PRODUCTS)
    assert made == PAGE, "python tests/compared/measure_rules.py, or the program of another table"


def test_control_another_figure_is_another_page() -> None:
    right = FOUND, OF_TEXT, OF_COSTS, OF_PRODUCTS
    changed = rules, text, costs, products = json.loads(json.dumps(right))
    rules["rules"]["lion"]["quadratic"]["steps"] += 1
    text["rules"]["AdamW"]["steps"] = [1] * 5
    costs["rules"]["lion"]["times"] = [9.0] * 7
    next(iter(products["seconds"].values()))[compared_page.NUMBA][:] = [9.0] * 5
    for k, wrong in enumerate(changed):
        assert page_of(*right[:k], wrong, *right[k + 1 :]) != PAGE


def test_the_file_has_every_rule_as_it_is_measured() -> None:
    assert json.loads(json.dumps(measure_rules.SETTINGS)) == FOUND["settings"]
    assert json.loads(json.dumps(measure_costs.SETTINGS)).items() <= OF_COSTS["settings"].items()
    for program, rules, file, parts in (
        ("measure_rules", RULES, FOUND, measure_rules.SETTINGS),
        ("measure_costs", measure_costs.LABELS, OF_COSTS, ("bytes", "passes", "times")),
    ):
        without = [rule for rule in rules if not {*parts} <= {*file["rules"].get(rule, ())}]
        words = "".join(f" --rule {rule}" for rule in without)
        assert not without, f"python tests/compared/{program}.py{words}"


def test_bytes_and_passes_in_the_file_are_those_of_now() -> None:
    params, grads = ([array] for array in (np.ones((64, 64), np.float32) for _ in range(2)))
    for label in ("adamw", "lamb", "signsgd"):
        now = measure_costs.cost(label, params, grads, 1)
        kept = OF_COSTS["rules"][label]
        assert (now["bytes"], now["passes"]) == (kept["bytes"], kept["passes"])


@pytest.mark.parametrize("label", ["sgd", "lookahead_adamw"])
def test_steps_in_the_file_are_those_of_now(label: str) -> None:
    for part in ("quadratic", "rosenbrock"):
        now = measure_rules.PARTS[part](label, **measure_rules.SETTINGS[part])
        assert now == FOUND["rules"][label][part]


def test_control_a_rule_that_goes_up_never_comes_down() -> None:
    hyper = {**hyper_of(RULES["sgd"]), "maximize": True}
    assert fewest_steps(RULES["sgd"], hyper, QUADRATIC, 1.0, [0.1], 20) is None


def test_every_rule_gets_down_both_functions() -> None:
    for label, figures in FOUND["rules"].items():
        assert figures["quadratic"] is not None, label
        assert figures["rosenbrock"] is not None, label


def test_the_text_is_compared_as_it_is_measured() -> None:
    measure_text = pytest.importorskip("measure_text", exc_type=ImportError)
    settings = json.loads(json.dumps(measure_text.SETTINGS))
    assert settings.items() <= OF_TEXT["settings"].items()
    assert [*OF_TEXT["rules"]] == [*measure_text.MAKERS]
    found = measure_text.measure(loss=9.0, rates=(1e-3,), steps=2, every=1, seeds=1)
    assert all(each["steps"] == [1] for each in found.values())
    never = measure_text.measure(loss=0.0, rates=(1e-3,), steps=1, every=1, seeds=1)
    assert all(each["steps"] == [None] for each in never.values())


def test_products_are_compared_as_they_are_measured() -> None:
    measure_products = pytest.importorskip("measure_products", exc_type=ImportError)
    assert [*OF_PRODUCTS["seconds"]] == [*measure_products.SHAPES]
    now = measure_products.measure({"two of 4 x 6": ((4, 6),) * 2}, rounds=1)
    names = {name for pair in compared_page.BESIDE for name in pair}
    for seconds in (*OF_PRODUCTS["seconds"].values(), *now["seconds"].values()):
        assert seconds.keys() == names
    assert now["settings"].keys() == OF_PRODUCTS["settings"].keys()
