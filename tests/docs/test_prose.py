"""Pages and texts in code are spelled right, pages are wrapped, and what has not run on a GPU is
said in one place."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from helpers import ROOT
from pages import PAGES, WRITTEN

SPELLED = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "core", "backends", "golden")
UNRUN = re.compile(
    r"not (been )?run on (a|any|one) GPU|this one has\s+not|no GPU has", re.IGNORECASE
)


def misspelled(*paths) -> list[str]:
    """Return what codespell finds: lines ``FILE:LINE: wrong ==> right``."""
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--toml", ROOT / "pyproject.toml", *paths],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = [line for line in done.stdout.splitlines() if "==>" in line]
    assert bool(done.returncode) == bool(found), done.stderr
    return found


def too_long(page: str) -> list[str]:
    """Return lines of prose above 100 characters: not code, tables, or lines without a blank."""
    prose = re.sub(r"^( *)```.*?^\1```", "", page, flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in prose.splitlines() if len(line) > 100]
    return [line for line in lines if not line.lstrip().startswith("|") and " " in line.strip()]


def test_spelling():
    assert not misspelled(*SPELLED)


def test_control_a_misspelled_word_is_found(tmp_path):
    (tmp_path / "page.md").write_text("The optimizer writes the paramter in place.\n")
    (found,) = misspelled(tmp_path)
    assert "paramter ==> parameter" in found


@pytest.mark.parametrize("page", [page for page in PAGES if page not in WRITTEN])
def test_lines_are_wrapped(page):
    assert not too_long(PAGES[page])


def test_control_a_long_line_is_found():
    line = "word " * 21
    assert too_long(f"{line}\n| {line} |\n```text\n{line}\n```\n") == [line]


def test_what_has_not_run_on_a_gpu_is_said_once():
    said = {page: len(UNRUN.findall(text)) for page, text in PAGES.items()}
    assert said.pop("README.md") == 1
    assert said.pop("docs/gpu.md") >= 1
    assert not any(said.values()), {page for page, number in said.items() if number}


def test_answers_are_short():
    answers = re.findall(
        r"^\*\*.*?(?=\n\n)", PAGES["docs/explain/questions.md"], re.DOTALL | re.MULTILINE
    )
    assert len(answers) > 20
    assert all(len(answer.splitlines()) <= 5 for answer in answers)
