"""The sample of tests: no test function and no common case vanishes from it but those marked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import product
from types import SimpleNamespace

import pytest
import sampling
from helpers import ROOT
from sampling import STRIDE, function_of, sample


class Toy:
    """What `sampling` asks of a test."""

    def __init__(self, nodeid: str, mark: str | None = None) -> None:
        self.nodeid, self.mark = nodeid, mark

    def get_closest_marker(self, name: str) -> SimpleNamespace | None:
        return SimpleNamespace(args=["file"]) if name == self.mark else None


def cases(function: str, number: int, mark: str | None = None) -> list[Toy]:
    return [Toy(f"{function}[{i}]", mark) for i in range(number)]


def values(items) -> Counter[str]:
    """How many cases have a value of a parameter: a rule, a backend, a dtype."""
    found = (item.nodeid.partition("[")[2].rstrip("]").split("-") for item in items)
    return Counter(value for each in found for value in set(each))


def test_every_test_function_is_in_the_sample_but_those_marked(pytestconfig):
    unmarked = [
        item
        for item in pytestconfig.stash[sampling.COLLECTED]
        if not item.get_closest_marker("whole")
    ]
    assert {*map(function_of, unmarked)} == {*map(function_of, sample(unmarked))}
    common = {value for value, count in values(unmarked).items() if count >= 10 * STRIDE}
    assert common <= {*values(sample(unmarked))}


@pytest.mark.parametrize("number", [1, 2, 10, 11, 12, 100, 1000])
def test_a_function_has_every_eleventh_of_its_cases(number):
    first = int(sample(cases("f", number))[0].nodeid[2:-1])
    assert first < STRIDE
    kept = [f"f[{i}]" for i in range(first, number, STRIDE)]
    assert [item.nodeid for item in sample(cases("f", number))] == kept


def test_functions_begin_at_different_cases():
    items = [case for i in range(50) for case in cases(f"f{i}", 11)]
    assert len({item.nodeid.partition("[")[2] for item in sample(items)}) > STRIDE / 2


def test_marked_functions_are_in_it_with_every_value_or_not_at_all():
    files, backends = range(7), "xyz"
    items = [case for file in files for case in cases(f"e[{file}]", 3, "every")]
    for item, (file, backend) in zip(items, product(files, backends), strict=True):
        item.callspec = SimpleNamespace(params={"file": file, "backend": backend})
    kept = [item.callspec.params for item in sample([*items, *cases("w", 30, "whole")])]
    assert [each["file"] for each in kept] == list(files)
    assert [each["backend"] for each in kept] == list("xyzxyzx")


@pytest.mark.parametrize(
    ("said", "names", "word", "expected"),
    [
        (None, False, "", "sample"),
        (None, True, "", "whole"),
        (None, False, "adam", "whole"),
        ("whole", False, "", "whole"),
        ("sample", True, "", "sample"),
        ("everything", False, "", "everything"),
    ],
)
def test_a_run_that_names_nothing_takes_the_sample(said, names, word, expected, monkeypatch):
    monkeypatch.delenv("SAMESTEP_TEST", raising=False)
    if said:
        monkeypatch.setenv("SAMESTEP_TEST", said)
    sources = pytest.Config.ArgsSource
    config = SimpleNamespace(
        ArgsSource=sources,
        args_source=sources.ARGS if names else sources.TESTPATHS,
        option=SimpleNamespace(keyword=word),
    )
    assert sampling.amount(config) == expected


def test_a_word_that_is_no_amount_is_refused(monkeypatch, pytestconfig):
    monkeypatch.setenv("SAMESTEP_TEST", "half")
    with pytest.raises(pytest.UsageError, match="=half: expected one of sample, whole, everything"):
        sampling.amount(pytestconfig)


@pytest.mark.whole
@pytest.mark.parametrize(("amount", "counted"), [("", "2 passed"), ("whole", "22 passed")])
def test_the_processes_of_xdist_are_told(amount, counted, tmp_path):
    """The folder of a copy is named in no word of the command."""
    (tmp_path / "test_toy.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(22))\ndef test_it(n): pass\n"
    )
    for name in ("conftest.py", "sampling.py", "modes.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "SAMESTEP_TEST": amount, "SAMESTEP_TEST_DOUBLE": ""},
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1].startswith(counted), done.stdout + done.stderr
