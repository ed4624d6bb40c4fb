"""Parameters whose parts are in several processes: DTensors, FSDP, ZeRO. See
`sharded_processes` for the checks, which two processes run."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from helpers import run_two_processes

SCRIPT = Path(__file__).with_name("sharded_processes.py")
CHECKS = [
    node.name
    for node in ast.parse(SCRIPT.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.decorator_list
]


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    run_two_processes(SCRIPT.name, folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", CHECKS)
def test_in_two_processes(failures, name):
    for rank, found in enumerate(failures):
        assert not found[name], f"process {rank}: {found[name]}"
