"""Links of pages lead to files, and files that they name are there."""

from __future__ import annotations

import re

import pytest
from helpers import ROOT
from pages import PAGES

MADE = re.compile(r"(\.\./)*(rules|examples)/\w+\.md")  # by the site's build, which follows these


def broken(page: str, text: str) -> list[str]:
    """Return the links of a page that lead to no file."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose)
    folder = (ROOT / page).parent
    return [link for link in links if not ((folder / link).exists() or MADE.fullmatch(link))]


def missing(text: str) -> list[str]:
    """Return the files of the checkout that a text names and that are not there."""
    named = re.findall(r"`((?:core|backends|golden|tests|docs)/[\w./]*)`", text)
    return [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_names_lead_to_files(page):
    assert not broken(page, PAGES[page])
    assert not missing(PAGES[page])


def test_control_a_broken_link_is_found():
    text = "[a](gone.md) `core/gone.py` [b](threads.md#fork) `core/rules/adam.py`"
    assert broken("docs/index.md", text) == ["gone.md"]
    assert missing(text) == ["core/gone.py"]
