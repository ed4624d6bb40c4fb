"""The programs in ``docs/examples/`` find what they look for, and get a page with a picture."""

from __future__ import annotations

import re
import sys

import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT / "docs" / "make"))
from example_pages import FOLDER, PICTURES, example_pages


@pytest.fixture(scope="module")
def pages():
    return example_pages()


def test_every_program_has_a_page_and_a_picture(pages):
    assert {*PICTURES} == {path.stem for path in FOLDER.glob("*.py")}
    for name in PICTURES:
        assert pages[f"examples/{name}.md"].startswith("# ")
        assert pages[f"examples/{name}.png"].startswith(b"\x89PNG")


def test_the_object_is_found(pages):
    (percent,) = re.findall(r"error of the object ([\d.]+) %", pages["examples/phase.md"])
    assert float(percent) < 3


def test_the_network_learns(pages):
    (percent,) = re.findall(r"(\d+) % of the points are right", pages["examples/network.md"])
    assert float(percent) > 97


def test_the_phase_is_lost_without_the_steps(pages):
    """A control: the guess that it begins with is far from the object."""
    begun, ended = map(float, re.findall(r"loss (\d+) -> ([\d.]+),", pages["examples/phase.md"])[0])
    assert ended < begun / 1000
