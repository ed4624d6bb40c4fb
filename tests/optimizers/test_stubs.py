"""What type checkers know of the optimizer classes, which are made when samestep is imported."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys

import pytest
import stubs
from helpers import ROOT
from samestep.optimizers.classes import CLASS_NAMES

PROGRAM = """
import numpy as np
import samestep as ss

params = [np.ones(3)]

def halved(step: int) -> float:
    return 0.5**step

def both(step: int) -> tuple[float, float]:
    return 0.9, 0.999

ss.AdamW(params, lr=1e-3, betas=(0.9, 0.999))
ss.AdamW(params, 1e-3, (0.9, 0.999), 1e-8, amsgrad=True, backend="numpy").step(params)
ss.AdamW({"w": params[0]}, lr=halved, betas=(halved, 0.9), clip_value=1.0, clip_norm=None)
ss.AdamW([{"params": params, "lr": 0.1}], betas=both, clip_global_norm=halved)
ss.SGD(params, lr=1, momentum=0.9, nesterov=True, skip_nonfinite=True, accumulation_steps=2)
ss.Rprop(params, etas=(0.5, 1.2), maximize=True)
optimizer: ss.Optimizer = ss.LAMB(params, loss_scaler=ss.LossScaler())

ss.AdamW(params, learning_rate=1)  # wrong
ss.AdamW(params, lr="fast")  # wrong
ss.AdamW(params, lr=both)  # wrong
ss.AdamW(params, betas=0.9)  # wrong
ss.AdamW(params, betas=(0.9, 0.99, 0.999))  # wrong
ss.AdamW(params, amsgrad=0.5)  # wrong
ss.AdamW(params, clip_value="little")  # wrong
ss.AdamW()  # wrong
ss.SGD(params, betas=(0.9, 0.999))  # wrong
ss.SGD(params, 0.1, 0.9, 0.0, 0.0, True)  # wrong
ss.NoSuchOptimizer(params)  # wrong
"""

TORCH_PROGRAM = """
import torch
from samestep.torch import SGD, AdamW, Optimizer

model = torch.nn.Linear(3, 2)

AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), weight_decay=0.1).step()
AdamW(model.named_parameters(), torch.tensor(1e-3), (0.9, 0.999), 1e-8, 0.0, True, fused=True)
AdamW([{"params": model.parameters(), "lr": 0.1}], backend="torch:foreach")
SGD(model.parameters(), 0.1, 0.9, 0.0, 0.0, True)
optimizer: torch.optim.Optimizer = Optimizer("lion", model.parameters(), lr=0.1)
torch.optim.lr_scheduler.StepLR(AdamW(model.parameters()), 10)

AdamW(model.parameters(), learning_rate=1)  # wrong
AdamW(model.parameters(), lr="fast")  # wrong
AdamW(model.parameters(), lr=lambda step: 0.1)  # wrong
AdamW(model.parameters(), betas=0.9)  # wrong
AdamW(model)  # wrong
AdamW(model.parameters(), fused="yes")  # wrong
SGD(model.parameters(), betas=(0.9, 0.999))  # wrong
"""


def test_the_stubs_are_those_of_the_signatures() -> None:
    """``python tests/optimizers/stubs.py`` writes them anew."""
    assert (ROOT / "core" / "optimizers/classes.pyi").read_text(encoding="utf-8") == stubs.text()
    pytest.importorskip("torch")
    assert (ROOT / "core" / "torch.pyi").read_text(encoding="utf-8") == stubs.torch_text()


@pytest.mark.parametrize("module", ["samestep", "samestep.torch"])
@pytest.mark.parametrize("name", CLASS_NAMES.values())
def test_a_stub_has_the_arguments_of_the_class_in_their_order(name: str, module: str) -> None:
    if module == "samestep.torch":
        pytest.importorskip("torch")
    imported = importlib.import_module(module)
    (definition,) = ast.parse(stubs.class_stub(imported, name)).body
    assert isinstance(definition, ast.ClassDef)
    (method,) = definition.body
    assert isinstance(method, ast.FunctionDef)
    signature = inspect.signature(getattr(imported, name)).parameters.values()
    positional = [p.name for p in signature if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [a.arg for a in method.args.args] == ["self", *positional]
    assert [a.arg for a in method.args.kwonlyargs] == [
        p.name for p in signature if p.kind is p.KEYWORD_ONLY
    ]


@pytest.mark.whole
def test_mypy_accepts_what_runs_and_rejects_what_does_not(tmp_path) -> None:
    pytest.importorskip("mypy")
    ignored = shutil.ignore_patterns("__pycache__", "values")
    shutil.copytree(ROOT / "core", tmp_path / "samestep", ignore=ignored)  # as it is installed
    for folder in ("backends", "golden"):
        shutil.copytree(ROOT / folder, tmp_path / "samestep" / folder, ignore=ignored)
    programs = {"program": PROGRAM}
    if importlib.util.find_spec("torch"):
        programs["torch_program"] = TORCH_PROGRAM
    for name, program in programs.items():
        (tmp_path / f"{name}.py").write_text(program)
    options = ("--strict", "--follow-imports=silent", "--config-file=", "--no-error-summary")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *(f"{name}.py" for name in programs)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "MYPYPATH": str(tmp_path), "MYPY_CACHE_DIR": str(tmp_path / "cache")},
    )  # fmt: skip
    for name, program in programs.items():
        errors = re.findall(rf"^{name}\.py:(\d+): error", done.stdout, re.M)
        wrong = {n for n, line in enumerate(program.splitlines(), 1) if "# wrong" in line}
        assert set(map(int, errors)) == wrong, done.stdout + done.stderr
