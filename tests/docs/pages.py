"""All pages in Markdown, and what on them is not run, with the reason."""

from __future__ import annotations

import sys

from helpers import ROOT

sys.path.insert(0, str(ROOT / "docs" / "make"))
from rule_pages import rule_pages

FILES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "golden" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
MADE = {f"docs/{path}": text for path, text in rule_pages().items()}
ON_DEVICE = {"docs/start/cupy.md", "docs/cuda.md"}

# written by a program, and held to it as a whole by the test that is named
WRITTEN = {
    "docs/printed.md": "tests/printing/test_printed_source.py",
    "docs/truth.md": "tests/tools/test_truth_page.py",
}
# blocks that are not run, by their first lines
LEFT_OUT = {
    "python3 -m venv .venv && . .venv/bin/activate": "installs; .ci/run does",
    "pip install '.[numba]'": "installs; .ci/run does",
    "pip install '.[cuda12]'": "installs",
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[demo]' && .venv/bin/samestep demo": (
        "installs; tests/tools/test_demo.py runs the demonstration"
    ),
    # titles of tables that take long to measure
    "samestep bench --backend numba --json docs/benchmark.json --plot docs/benchmark.png": (
        "ten minutes; test_figures.py compares the page with the file of timings"
    ),
    "python tests/tools/memory_page.py": "measures for a minute; tests/tools/test_memory.py",
    "samestep population --picture docs/population.png": (
        "35 seconds, and its matrix products have other bits elsewhere; tests/tools/test_population.py"
    ),
    "samestep golden verify --backend mine": "a backend of the reader's",
    "base=https://github.com/OWNER/samestep  # the repository's address": (
        "changes README for a release; test_readme.py runs it on a copy"
    ),
    "rm -rf build dist": "builds and uploads a release; tests/test_package.py builds one",
    "python -m twine upload --repository testpypi dist/*": "uploads",
}
