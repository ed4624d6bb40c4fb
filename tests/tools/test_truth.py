"""``samestep truth``: its problems, its comparisons and its tables."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mpmath")

from samestep.golden.cases import Case, cases
from samestep.golden.compare import ulp_errors
from samestep.tools.truth import optax as truth_optax
from samestep.tools.truth import runs as truth_runs
from samestep.tools.truth.problem import pose
from samestep.tools.truth.report import Report, report
from samestep.tools.truth.table import reasons, shown, tables

SMALL = (2, 3)
CASES = {case.name: case for case in cases()}
STEPS = [1, 3]
SAME_FORMULA = 100  # ulps after three steps; another formula is off by 1e9 and more
FLOAT32_SCALARS = {"nadam", "nadam_decoupled_weight_decay", "asgd"}  # in torch


def of(*names: str, steps: list[int] = STEPS, shape: tuple[int, int] = SMALL) -> Report:
    return report([CASES[name] for name in names], steps, lambda name: None, shape)


# ---- the problem


def test_a_problem_is_the_same_each_time_and_its_own() -> None:
    a, b, c = (pose(CASES[name], [2], SMALL) for name in ("adam.float32",) * 2 + ("adam.float16",))
    assert a.golden.tensors.keys() == b.golden.tensors.keys()
    for name, array in a.golden.tensors.items():
        np.testing.assert_array_equal(array, b.golden.tensors[name])
    assert (a.start.dtype, c.start.dtype) == (np.float32, np.float16)
    assert not np.allclose(a.start, c.start, rtol=1e-2)
    assert not np.array_equal(a.gradient(1), a.gradient(2))
    for problem in (a, c):
        sizes = np.abs(problem.start.astype(np.float64))
        assert 0.5 <= sizes.min() < sizes.max() <= 2


def test_a_unit_is_that_of_the_largest_magnitude_so_far() -> None:
    case = Case(CASES["sgd.float32"].rule, "float32", dict(lr=1.0), {})
    problem = pose(case, [1, 40], SMALL)
    trajectory = [problem.start, *(problem.exact[step] for step in range(1, 41))]
    largest = np.max(np.abs(trajectory), axis=0).astype(np.float32)
    np.testing.assert_array_equal(problem.unit[40], np.spacing(largest))
    smaller = np.abs(problem.exact[40]) < largest / 2
    assert smaller.any()  # the control: a unit of the last value would be another one
    assert (np.spacing(np.abs(problem.exact[40]).astype(np.float32)) < problem.unit[40])[
        smaller
    ].all()


def test_errors_are_those_of_the_golden_files_where_the_units_agree() -> None:
    """Where a parameter has never been larger its unit is that of the truth itself."""
    problem = pose(CASES["sgd.float32"], [8])
    ours = truth_runs.ours(problem, [8])[8]
    before = np.max([np.abs(problem.start), *(np.abs(problem.exact[k]) for k in range(1, 8))], 0)
    grown = np.abs(problem.exact[8]) > before
    units = np.abs(ours.astype(np.float64) - problem.exact[8]) / problem.unit[8]
    assert 0 < grown.sum() < grown.size
    np.testing.assert_array_equal(units[grown], ulp_errors(ours, problem.exact[8])[grown])


# ---- who is compared


@pytest.fixture(scope="module")
def float64_report() -> Report:
    return of(*(name for name in CASES if name.endswith(".float64")))


def test_all_who_are_compared_compute_the_same_formula(float64_report: Report) -> None:
    labels = {row.label for row in (*float64_report.rows, *float64_report.sign_rows)}
    assert labels == {case.variant.label for case in cases()}
    for row in float64_report.rows:
        for who, error in row.errors.items():
            rounded = who == "torch" and row.label in FLOAT32_SCALARS
            bound = 1e9 if rounded else SAME_FORMULA
            assert error.rms <= error.most <= bound, (row.label, who, row.step)
    for row in float64_report.sign_rows:
        assert set(row.flipped.values()) == {0}, row


@pytest.mark.parametrize("label", sorted(FLOAT32_SCALARS))
def test_what_torch_rounds_to_float32_is_its_default_dtype(label: str) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    assert of(f"{label}.float64").rows[-1].errors["torch"].most > 1e4
    torch.set_default_dtype(torch.float64)
    try:
        assert of(f"{label}.float64").rows[-1].errors["torch"].most < SAME_FORMULA
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_torch_is_far_off_where_it_decays_in_an_operation_of_its_own(dtype: str) -> None:
    pytest.importorskip("torch")
    times = []
    for weight_decay in (0.02, 0.0):
        case = CASES[f"adamw.{dtype}"]
        case = dataclasses.replace(case, hyper={**case.hyper, "weight_decay": weight_decay})
        (row,) = report([case], [200], lambda name: None).rows
        times.append(row.errors["torch"].rms / row.errors["samestep"].rms)
    assert times[0] > 2.5 > 1.5 > times[1], times


@pytest.mark.parametrize(
    ("label", "build"),
    [
        ("adagrad", lambda optax, h: [optax.adagrad(h.lr, h.initial_accumulator_value, h.eps)]),
        ("nadam", lambda optax, h: [optax.nadam(h.lr, *h.betas, h.eps)]),
        ("radam", lambda optax, h: [optax.radam(h.lr, *h.betas, h.eps)]),
        ("adam_amsgrad", lambda optax, h: [optax.amsgrad(h.lr, *h.betas, h.eps)]),
        ("adamw", lambda optax, h: [optax.adamw(h.lr, *h.betas, h.eps * 1.001, weight_decay=h.weight_decay)]),
        ("rmsprop", lambda optax, h: [optax.rmsprop(h.lr, h.alpha, h.eps)]),
    ],
)  # fmt: skip
def test_control_another_formula_would_be_seen(
    label: str, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among these are the ones that are left out for being different: they are."""
    pytest.importorskip("optax")
    rule = CASES[f"{label}.float64"].rule.name
    monkeypatch.delitem(truth_optax.DIFFERENT, rule, raising=False)
    monkeypatch.setattr(truth_optax, "DIFFERENT_OPTIONS", {})
    monkeypatch.setitem(truth_optax.BUILDERS, rule, build)
    assert of(f"{label}.float64").rows[-1].errors["optax"].most > 1e3 * SAME_FORMULA


def test_jax_is_left_as_it_was() -> None:
    jax = pytest.importorskip("jax")
    pytest.importorskip("optax")
    before = jax.config.jax_enable_x64
    of("sgd.float64")
    assert jax.config.jax_enable_x64 == before


def test_control_one_wrong_bit_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = of("sgd.float32").rows[0].errors["samestep"]

    def flawed(problem: Any, steps: list[int]) -> Any:
        found = truth_runs.ours(problem, steps)
        found[1].view(np.uint32)[0, 0] ^= 4
        return found

    monkeypatch.setitem(truth_runs.RUNS, "samestep", flawed)
    wrong = of("sgd.float32").rows[0].errors["samestep"]
    assert right.most <= 0.5 + 1e-6
    assert 1.7 <= wrong.most <= 4.5


def test_with_16_bit_storage_our_error_is_that_of_storage() -> None:
    for row in of("adamw.bfloat16", "lamb.bfloat16", steps=[1, 100]).rows:
        ours, storage = row.errors["samestep"], row.errors["storage"]
        assert ours.rms == pytest.approx(storage.rms, rel=0.05)
        assert storage.rms > 0.1


def test_a_flipped_sign_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def flawed(problem: Any, steps: list[int]) -> Any:
        found = truth_runs.ours(problem, steps)
        lr = problem.golden.header.hyperparameters["lr"]
        found[1][0, 0] += 2 * lr * np.sign(problem.exact[1][0, 0] - problem.start[0, 0]) * -1
        found[1][0, 1] = np.nan
        return found

    monkeypatch.setitem(truth_runs.RUNS, "samestep", flawed)
    (row,) = of("signsgd.float32").sign_rows
    assert row.flipped["samestep"] == 2
    assert row.flipped["storage"] == 0


# ---- tables


def test_tables_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(truth_runs.RUNS, "torch", lambda problem, steps: "it is not installed")
    found = of("sgd.float32", "nadam.float32", "lion.float32")
    (numbers, signs) = tables(found)
    assert numbers[1][:5] == ["rule", "steps", "moved", "samestep max", "rms"]
    assert [row[:2] for row in numbers[2]] == [["sgd", "1"], ["", "3"], ["nadam", "1"], ["", "3"]]
    assert all(row[5:7] == ["-", "-"] for row in numbers[2])
    assert [row[:3] for row in signs[2]] == [["lion", "float32", "0"]]
    assert "torch, all rules: it is not installed." in reasons(found)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0.00"), (99.994, "99.99"), (99.996, "100"), (12345.6, "12,346"), (3e8, "3.0e+08"),
     (np.inf, "inf")],
)  # fmt: skip
def test_numbers_are_short(number: float, text: str) -> None:
    assert shown(number) == text
