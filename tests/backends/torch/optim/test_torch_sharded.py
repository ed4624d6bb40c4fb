"""Parameters whose parts are in several processes: DTensors, FSDP, ZeRO. See
`tests/sharded/` for the checks, which two processes run."""

from __future__ import annotations

import ast
import json

import pytest
from helpers import ROOT, run_two_processes

FOLDER = ROOT / "tests" / "sharded"
CHECKS = [
    node.name
    for file in sorted(FOLDER.glob("*.py"))
    for node in ast.parse(file.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.decorator_list
]


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    run_two_processes(FOLDER / "run.py", folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.whole
def test_every_check_is_run(failures):
    assert all(found.keys() == set(CHECKS) for found in failures)


@pytest.mark.whole
@pytest.mark.parametrize("name", CHECKS)
def test_in_two_processes(failures, name):
    for rank, found in enumerate(failures):
        assert not found[name], f"process {rank}: {found[name]}"
