"""Damaged files load as written or give a clear error; see `checkpoint_mutations`.

``SAMESTEP_TEST=everything`` damages files for ten minutes, from ``SAMESTEP_TEST_SEED`` on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import checkpoint_mutators
import pytest
from helpers import ROOT
from sampling import EVERYTHING

pytestmark = pytest.mark.whole

SCRIPT = Path(__file__).with_name("checkpoint_mutations.py")
SEED = os.environ.get("SAMESTEP_TEST_SEED", "0")
MANY = ("--seconds", "600", "--files", "10000000") if EVERYTHING else ("--files", "1500")


def mutate(*options):
    command = [sys.executable, SCRIPT, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr  # a crash would be negative
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_damaged_files_load_as_written_or_give_a_clear_error():
    result = mutate(*MANY, "--seed", SEED)
    assert (result["first faults"], result["faults"]) == ([], 0)
    files = result["files"]
    assert files >= 1500
    outcomes = ("unsealed: refused", "unsealed: loaded", "sealed: refused", "sealed: loaded")
    assert sum(result[outcome] for outcome in outcomes) == files
    assert result["unsealed: refused"] > files / 3
    assert result["sealed: refused"] > files / 10
    assert result["sealed: loaded"] > files / 50
    mutators = {*checkpoint_mutators.OF_BYTES, *checkpoint_mutators.OF_CONTENTS}
    assert all(result[f"kind: {mutator.__name__}"] > files / 100 for mutator in mutators)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
@pytest.mark.parametrize(
    ("control", "fault"),
    [("no-checksum", "a damaged file was loaded"), ("believe-lengths", "MemoryError|bytes beyond")],
)
def test_control_a_careless_reader_is_caught(control, fault):
    result = mutate("--files", "200", "--control", control)
    assert result["faults"] > 3
    assert any(part in text for text in result["first faults"] for part in fault.split("|"))
