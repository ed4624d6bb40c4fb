"""Processes killed while they save lose no checkpoint; see `checkpoint_kills`, which also kills a
thousand of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sampling import EVERYTHING

pytestmark = pytest.mark.whole

SCRIPT = Path(__file__).with_name("checkpoint_kills.py")
KILLS = 1000 if EVERYTHING else 100


def kill(number, *options):
    command = [sys.executable, SCRIPT, "--kills", str(number), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes that it kills")
def test_no_checkpoint_is_lost_and_no_temporary_files_pile_up():
    status, result = kill(KILLS)
    assert (status, result["kills"]) == (0, KILLS)
    assert "lost" not in result
    assert result["old version"] + result["new version"] == result["while saving"] > KILLS / 2
    assert result["temporary files left by a kill"] > KILLS / 10
    assert result["most temporary files"] == 1
    assert result["temporary files at the end"] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes that it kills")
def test_control_a_writer_in_place_loses_checkpoints():
    status, result = kill(40, "--naive")
    assert status == 1
    assert result["lost"] > 4
