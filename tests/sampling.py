"""How many of the tests run: a sample, all of them, or all of them with more of what they draw.

``SAMESTEP_TEST`` says which:

- ``sample``: of each test function every eleventh case, one at least, the first by its name; none of
  those marked ``whole``, which take long and rarely tell more, and all of those marked ``all_cases``.
  It is what a run takes that names nothing, such as README's command.
- ``whole``: all tests. It is what a run takes that names files, tests or words (``-k``).
- ``everything``: all tests, and those that draw, compile or kill do it ten times as often and more.

The other variables ``SAMESTEP_TEST_...`` say what must be there (``BACKENDS``, ``TORCH``, ``FRAMEWORKS``,
``MACHINES``, ``NVRTC``), what stands in for a GPU (``DOUBLE``, ``DEVICE``) and where drawing begins (``SEED``).
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Iterable

import pytest

VARIABLE = "SAMESTEP_TEST"
AMOUNTS = ("sample", "whole", "everything")
STRIDE = 11  # has no factor in common with numbers of backends and dtypes, so it meets all of them
AMOUNT = pytest.StashKey[str]()
COLLECTED = pytest.StashKey[list[pytest.Item]]()  # all tests of the files that are run
EVERYTHING = os.environ.get(VARIABLE) == "everything"


def amount(config: pytest.Config) -> str:
    """Return which of `AMOUNTS` a run takes."""
    names_nothing = config.args_source is not config.ArgsSource.ARGS and not config.option.keyword
    chosen = os.environ.get(VARIABLE) or ("sample" if names_nothing else "whole")
    if chosen not in AMOUNTS:
        raise pytest.UsageError(f"{VARIABLE}={chosen}: expected one of {', '.join(AMOUNTS)}")
    return chosen


def function_of(item: pytest.Item) -> str:
    """Return the id of a test without its case."""
    return item.nodeid.partition("[")[0]


def sample(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the sample of these tests, in their order."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        cases[function_of(item)].append(item)
    kept = []
    for function, its_cases in cases.items():
        if its_cases[0].get_closest_marker("all_cases"):
            kept += its_cases
        elif not its_cases[0].get_closest_marker("whole"):
            first = zlib.crc32(function.encode()) % min(STRIDE, len(its_cases))
            kept += its_cases[first::STRIDE]
    chosen = set(kept)
    return [item for item in items if item in chosen]
