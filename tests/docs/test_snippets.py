"""Every snippet of the site's own pages runs as typed, and prints what the page says."""

from __future__ import annotations

import sys

import pytest
from conftest import needs_double
from helpers import ROOT
from snippets import run

sys.path.insert(0, str(ROOT / "docs" / "make"))
from rule_pages import rule_pages

ON_DEVICE = {"start/cupy.md"}
PAGES = {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text(encoding="utf-8")
    for folder in (".", "start", "howto", "explain")
    for path in sorted((ROOT / "docs" / folder).glob("*.md"))
    if folder != "." or path.name == "index.md"
} | rule_pages()


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=needs_double if p in ON_DEVICE else ()) for p in PAGES]
)
def test_snippets_run_as_typed(path, tmp_path):
    run(PAGES[path], tmp_path)


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ("```python\n1 / 0\n```", ZeroDivisionError),
        ("```python\nx = 1\n```\n```python\nx\n```", NameError),
        ('```python\nprint(1)\n```\n```text title="prints"\n2\n```', AssertionError),
        ("```sh\nfalse\n```", AssertionError),
        ("```pyhton\n1\n```", ValueError),
        ("```\n1\n```", ValueError),
    ],
)
def test_control_a_snippet_that_does_not_run_is_found(page, error, tmp_path):
    with pytest.raises(error):
        run(page, tmp_path)
