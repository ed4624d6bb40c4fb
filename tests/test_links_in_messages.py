"""Every page that a message sends its reader to exists, with its heading."""

from __future__ import annotations

import ast
import re

import pytest
from helpers import ROOT, sources
from samestep.pages import BASE, see


def called_with(text: str) -> list[str]:
    """Return the pages that a source calls `see` with; each must stand there as it is."""
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "see"
    ]
    return [ast.literal_eval(call.args[0]) for call in calls]


def is_there(page: str) -> bool:
    """Whether a page exists, and the heading behind its ``#``."""
    name, _, anchor = page.partition("#")
    file = ROOT / "docs" / name
    if not file.is_file():
        return False
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
    return not anchor or anchor in anchors


PAGES = sorted(
    {
        page
        for folder in ("core", "backends", "golden")
        for file in sources(folder)
        for page in called_with(file.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_a_message_names_exists(page):
    assert is_there(page)
    assert see(page) == f"; see {BASE}{page}"


def test_all_subjects_with_a_page_of_their_own_are_linked():
    subjects = {"in_place.md", "howto/sparse.md", "howto/rule.md", "checkpoints.md", "cuda.md"}
    assert subjects <= {*PAGES}
    assert (ROOT / BASE / "in_place.md").is_file()


@pytest.mark.parametrize("page", ["nowhere.md", "torch.md#nothing-of-this-name"])
def test_control_a_page_or_heading_that_is_missing_is_noticed(page):
    assert called_with(f"f(see({page!r}))") == [page]
    assert not is_there(page)
