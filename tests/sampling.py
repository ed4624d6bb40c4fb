"""How many of the tests run: a sample, all of them, or all of them with more of what they draw.

``SAMESTEP_TEST`` says which:

- ``sample``: of each test function every eleventh case, one at least; of one marked
  ``every("name")`` a case for every value of that parameter; of one marked ``whole``, which takes
  long and rarely tells more, none. It is what a run takes that names nothing, such as README's
  command.
- ``whole``: all tests. It is what a run takes that names files, tests or words (``-k``).
- ``everything``: all tests, and those that draw, compile or kill do it ten times as often and more.

The other variables ``SAMESTEP_TEST_...`` say what must be there (``BACKENDS``, ``TORCH``,
``FRAMEWORKS``, ``MACHINES``, ``NVRTC``), what stands in for a GPU (``DOUBLE``, ``DEVICE``) and
where drawing begins (``SEED``).
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

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


def half(names: Sequence[str]) -> list[str]:
    """Return of names such as ``adamw.float32`` every second dtype of a rule, one at least; all of
    them with ``everything``. For cases that take long and rarely tell more than their
    neighbours."""
    of_rule: dict[str, list[str]] = defaultdict(list)
    for name in names:
        of_rule[name.rpartition(".")[0]].append(name)
    if EVERYTHING:
        return list(names)
    return [n for k, own in enumerate(of_rule.values()) for n in own[k % min(2, len(own)) :: 2]]


def function_of(item: pytest.Item) -> str:
    """Return the id of a test without its case."""
    return item.nodeid.partition("[")[0]


def one_for_every_value(parameter: str, cases: Iterable[Any]) -> list[pytest.Item]:
    """Return a case for every value of a parameter; the other parameters take turns."""
    of_value: dict[Any, list[pytest.Item]] = defaultdict(list)
    for case in cases:
        of_value[case.callspec.params[parameter]].append(case)
    return [its[i % len(its)] for i, its in enumerate(of_value.values())]


def sample(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the sample of these tests, in their order."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        cases[function_of(item)].append(item)
    kept = []
    for function, its_cases in cases.items():
        if every := its_cases[0].get_closest_marker("every"):
            kept += one_for_every_value(every.args[0], its_cases)
        elif not its_cases[0].get_closest_marker("whole"):
            first = zlib.crc32(function.encode()) % min(STRIDE, len(its_cases))
            kept += its_cases[first::STRIDE]
    chosen = set(kept)
    return [item for item in items if item in chosen]
