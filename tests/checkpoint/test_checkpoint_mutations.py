"""Damaged files load as written or give a clear error; see `checkpoint_mutations`, which also
looks at ten thousand of them."""

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
FILES = 10_000 if EVERYTHING else 1500


def mutate(number, *options):
    command = [sys.executable, SCRIPT, "--files", str(number), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr  # a crash would be negative
    return json.loads(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_damaged_files_load_as_written_or_give_a_clear_error():
    result = mutate(FILES)
    assert result["first faults"] == []
    assert (result["faults"], result["files"]) == (0, FILES)
    outcomes = ("unsealed: refused", "unsealed: loaded", "sealed: refused", "sealed: loaded")
    assert sum(result[outcome] for outcome in outcomes) == FILES
    assert result["unsealed: refused"] > FILES / 3
    assert result["sealed: refused"] > FILES / 10
    assert result["sealed: loaded"] > FILES / 50
    mutators = {*checkpoint_mutators.OF_BYTES, *checkpoint_mutators.OF_CONTENTS}
    assert all(result[f"kind: {mutator.__name__}"] > FILES / 100 for mutator in mutators)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
@pytest.mark.parametrize(
    ("control", "fault"),
    [("no-checksum", "a damaged file was loaded"), ("believe-lengths", "MemoryError|bytes beyond")],
)
def test_control_a_careless_reader_is_caught(control, fault):
    result = mutate(200, "--control", control)
    assert result["faults"] > 3
    assert any(part in text for text in result["first faults"] for part in fault.split("|"))
