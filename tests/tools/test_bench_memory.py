"""What the benchmark knows about memory: peaks, what is available, and who fits beside whom."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from samestep.tools.bench import room
from samestep.tools.bench.peak import peak_memory
from samestep.tools.bench.room import available_memory, groups_that_fit
from samestep.tools.cli.errors import UserError

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")


def test_peak_memory_sees_temporaries() -> None:
    size = 64 << 20
    temporary = peak_memory(lambda: np.ones(size, np.uint8).sum(dtype=np.uint8))
    nothing = peak_memory(lambda: None)
    assert temporary.most >= temporary.numpy >= size > 1 << 20 > nothing.numpy
    if sys.platform == "linux":
        assert (temporary.process or 0) > size * 0.9 > (nothing.process or 0)


@linux
def test_available_memory_is_a_part_of_the_machine_s() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1 << 20 < (available_memory() or 0) <= total


@linux
def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("MEMORY_LIMIT", "5000\n"), ("MEMORY_USED", "2000\n")):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(room, name, tmp_path / name)
    assert available_memory() == 3000
    (tmp_path / "MEMORY_LIMIT").write_text("max\n")
    assert (available_memory() or 0) > 3000


NEEDS = {"a": 4, "ours": 1, "b": 3, "c": 2, "limit": 1}


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (11, [["a", "ours", "b", "c", "limit"]]),
        (10, [["a", "ours", "b", "limit"], ["ours", "c", "limit"]]),
        (8, [["a", "ours", "limit"], ["ours", "b", "c", "limit"]]),
        (6, [["a", "ours", "limit"], ["ours", "b", "limit"], ["ours", "c", "limit"]]),
    ],
)
def test_groups_fit_and_have_those_that_all_are_compared_with(
    available: int, expected: list[list[str]]
) -> None:
    groups = groups_that_fit(NEEDS, ("ours", "limit"), available)
    assert groups == expected
    for group in groups:
        assert sum(NEEDS[name] for name in group) <= available


def test_what_fits_nowhere_is_an_error_that_says_how_much() -> None:
    with pytest.raises(UserError, match=r"a beside ours and limit needs 6\.0 GB .* 5\.0 GB are"):
        groups_that_fit(
            {name: n * 10**9 for name, n in NEEDS.items()}, ("ours", "limit"), 5 * 10**9
        )


def test_the_reference_alone_is_a_group() -> None:
    assert groups_that_fit({"ours": 5, "limit": 1}, ("ours", "limit"), 6) == [["ours", "limit"]]
