"""``samestep truth``: the command and the page of the documentation that it writes."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import call
from helpers import ROOT

pytest.importorskip("mpmath")

from samestep.golden.cases import Case, cases
from samestep.install_command import install_command
from samestep.tools.truth import runs as truth_runs
from samestep.tools.truth.report import report
from samestep.tools.truth.run import parse_steps
from samestep.tools.truth.table import shown, tables

PAGE = ROOT / "docs" / "truth.md"
CASES = {case.name: case for case in cases()}

# ---- the command


def test_the_command_prints_and_writes(tmp_path: Path, capsys: Any) -> None:
    words = (
        "truth",
        "--rule",
        "sgd.float32",
        "--rule",
        "lion",
        "--dtype",
        "float32",
        "--steps",
        "1",
    )
    assert call(*words) == 0
    printed = capsys.readouterr().out
    assert call(*words, "--write", tmp_path / "page.md") == 0
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^sgd +1 .*$", printed, re.MULTILINE)
    assert line in page
    assert re.search(r"^lion +float32 +0 ", page, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rule nope", "no golden case nope"),
        ("--dtype int8", "--dtype int8"),
        ("--steps 0,1", "--steps 0,1"),
        ("--steps one", "--steps one"),
        ("--write /nowhere/page.md", "there is no folder /nowhere"),
    ],
)
def test_a_mistake_is_one_line(words: str, message: str, capsys: Any) -> None:
    assert call("truth", *words.split()) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert message in shown.err


def test_steps_are_sorted_and_distinct() -> None:
    assert parse_steps("10,1,10") == [1, 10]


def test_without_mpmath_the_extra_is_named() -> None:
    script = (
        "import sys; sys.modules['mpmath'] = None\n"
        "from samestep.tools.cli.commands import main; sys.exit(main(['truth']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert install_command("oracle") in done.stderr


# ---- the page


def test_the_page_has_every_case() -> None:
    text = PAGE.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+?)\n.*?```\n(.*?)```", text, re.MULTILINE | re.DOTALL))
    for case in cases():
        label, dtype = case.variant.label, case.dtype
        signs = rf"^{label} +{dtype} "
        numbers = rf"^{label} +1 "
        assert re.search(numbers, sections[dtype], re.MULTILINE) or re.search(
            signs, sections["Rules that take a sign"], re.MULTILINE
        ), f"{case.name}: samestep truth --write docs/truth.md"


def lines_of(case: Case) -> list[list[str]]:
    """The cells of a case's lines on the page, the rule's name left out."""
    text = PAGE.read_text(encoding="utf-8")
    section = text.split(f"\n## {case.dtype}\n")[1].split("\n## ")[0]
    (block,) = re.findall(rf"^{case.variant.label} .*\n(?: .*\n)*", section, re.MULTILINE)
    lines = [line.split() for line in block.splitlines()]
    return [lines[0][1:], *lines[1:]]


def test_the_page_is_of_the_cases_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far each has moved after the first step, and how wrong it is then, but for GaLore: its
    singular vectors are as wrong as a library's."""
    for who in ("torch", "optax", "storage"):
        monkeypatch.setitem(truth_runs.RUNS, who, lambda problem, steps: "")
    found = report(list(CASES.values()), [1], lambda name: None)
    assert len(found.rows) + len(found.sign_rows) == len(CASES)
    for row in found.rows:
        error = row.errors["samestep"]
        first = lines_of(CASES[f"{row.label}.{row.dtype}"])[0]
        cells = ["1", shown(row.moved), shown(error.most), shown(error.rms)]
        count = 2 if row.label == "galore" else 4
        assert first[:count] == cells[:count], (
            f"{row.label}.{row.dtype}: samestep truth --write docs/truth.md"
        )


@pytest.mark.parametrize("name", ["adamw.float32", "lamb.bfloat16", "adadelta.float64"])
def test_the_page_says_what_the_command_says(name: str) -> None:
    """What does not depend on the versions of other libraries, after one step and after ten."""
    found = report([CASES[name]], [1, 10], lambda name: None)
    ((_, _, rows),) = tables(found)
    for cells, (_, *expected) in zip(lines_of(CASES[name])[:2], rows, strict=True):
        assert [*cells[:4], *cells[-2:]] == [*expected[:4], *expected[-2:]]


def test_control_the_page_of_another_case_says_something_else() -> None:
    other = dataclasses.replace(CASES["adamw.float32"], hyper=dict(lr=0.03))
    ((_, _, rows),) = tables(report([other], [1], lambda name: None))
    ((_, _, usual),) = tables(report([CASES["adamw.float32"]], [1], lambda name: None))
    assert rows[0][2] != usual[0][2]
