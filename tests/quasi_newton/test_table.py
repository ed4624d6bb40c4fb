"""The table of evaluations on the page is what the command prints."""

from __future__ import annotations

import re

import pytest
from compare import ours, scipys, torchs
from helpers import ROOT
from problems import PROBLEMS

PAGE = (ROOT / "docs/howto/lbfgs.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_page_has_the_evaluations(name):
    """To a seventh: another processor's logarithms and products of matrices are others."""
    counts = re.search(rf"\| {name} \| (\d+) \| (\d+) \| (\d+) \|", PAGE).groups()
    for shown, of in zip(map(int, counts), (ours, scipys, torchs), strict=True):
        assert of(PROBLEMS[name])[0] == pytest.approx(shown, rel=1 / 7)
    assert int(counts[0]) <= 1.3 * int(counts[1])
