"""README is one screen, and from it a step in each of four worlds is near."""

from __future__ import annotations

import posixpath
import re

import pytest
from helpers import ROOT
from pages import PAGES
from snippets import Snippet, run_shell, snippets

README = PAGES["README.md"]
WORLDS = {
    "NumPy": "import numpy",
    "CuPy": "import cupy",
    "PyTorch": "import torch",
    "C": "#include",
}
MOST_CLICKS, MOST_LINES = 3, 10


def clicks(page: str) -> int:
    """Return how many links lead from README to a page. Raises KeyError if none does."""
    found, waiting = {"README.md": 0}, ["README.md"]
    for here in waiting:
        for link in re.findall(r"\]\(([^)#:]+\.md)", PAGES[here]):
            there = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
            if there in PAGES and there not in found:
                found[there] = found[here] + 1
                waiting.append(there)
    return found[page]


def lines_to_a_step(program: Snippet) -> int:
    """Count a program's lines, but imports, braces and comments, to the first that takes a step."""
    lines = [line.strip() for line in program.text.splitlines()]
    step = next(k for k, line in enumerate(lines) if ".step(" in line or "_update(" in line)
    idle = ("import ", "from ", "#", "/*")
    counted = [
        line for line in lines[: step + 1] if line.strip("{} ") and not line.startswith(idle)
    ]
    return len(counted)


def test_it_is_one_screen():
    lines = README.splitlines()
    assert len(lines) <= 90
    prose = [line for line in lines if len(line) > 100 and not line.startswith("|")]
    assert all("pytest" in line for line in prose)


@pytest.mark.parametrize("world", WORLDS)
def test_a_step_is_near(world):
    near = {
        page: lines_to_a_step(program)
        for page in PAGES
        if page.startswith("docs/start/") and clicks(page) <= MOST_CLICKS
        for program in snippets(PAGES[page])[::-1]
        if WORLDS[world] in program.text and re.search(r"\.step\(|_update\(", program.text)
    }
    assert near
    assert min(near.values()) <= MOST_LINES


def test_controls_of_the_counts():
    assert clicks("README.md") == 0
    assert clicks("docs/start/numpy.md") == 1
    assert clicks("docs/cuda.md") == 2
    with pytest.raises(KeyError):
        clicks("docs/gone.md")
    program = "import numpy as np\n\n# so\na = 1\nfor x in a:\n    opt.step(x)\n    b = 2\n"
    assert lines_to_a_step(Snippet("python", "", program)) == 3


def test_the_test_command_is_the_one_that_ci_takes():
    found = re.search(r"<!-- the test command -->\n```sh\n(.*?)\n```\n", README)
    assert found is not None
    assert "pytest" in found[1]
    assert "the test command" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_are_made_absolute_for_the_package_index(tmp_path):
    """By the commands of CONTRIBUTING, on a copy."""
    (commands,) = [each for each in snippets(PAGES["CONTRIBUTING.md"]) if "sed -i" in each.text]
    copy = tmp_path / "README.md"
    copy.write_text(README, encoding="utf-8")
    run_shell(commands.text, tmp_path)
    links = re.findall(r"\]\((.*?)\)", README)
    made = re.findall(r"\]\((.*?)\)", copy.read_text(encoding="utf-8"))
    address = "https://github.com/OWNER/samestep"
    kinds = {link: "raw" if link.endswith(".png") else "blob" for link in links}
    assert made == [f"{address}/{kinds[link]}/main/{link}" for link in links]
    assert {*kinds.values()} == {"raw", "blob"}
