"""Every test leaves the modes of the process as they were, and the package enters them only where
interrupts are held."""

from __future__ import annotations

import ast
import signal
import sys
import warnings

import numpy as np
import pytest
from helpers import ROOT, sources
from modes import modes_stay
from samestep import choice

SWITCHES = {
    "errstate", "no_grad", "enable_grad", "inference_mode", "catch_warnings", "patch", "autocast",
    "seterr", "set_grad_enabled", "_set_grad_enabled",
}  # fmt: skip
# run by steps only, which hold interrupts
BY_STEPS = {
    ("backends/cuda/launch.py", "_send"),
    ("backends/numpy/launch.py", "run"),
    ("backends/torch/launch.py", "ready"),
    ("backends/torch/launch.py", "run"),
    ("backends/torch/optim/averages.py", "write"),
    ("backends/torch/optim/optimizer.py", "_step"),
    ("backends/host/judge.py", "_over_all"),
    ("core/step/launches.py", "set_rows"),
}


def switches(node):
    return [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and n.attr in SWITCHES]


def unheld(path, tree):
    """The lines that switch a mode where interrupts may not be held."""
    fine = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and ast.unparse(node.items[0].context_expr) == "held()":
            fine |= {id(n) for item in node.items for n in switches(item)}
        if isinstance(node, ast.FunctionDef) and (path, node.name) in BY_STEPS:
            fine |= {id(n) for statement in node.body for n in switches(statement)}
    return [n.lineno for n in switches(tree) if id(n) not in fine]


def test_modes_are_entered_where_interrupts_are_held():
    found = []
    for file in [*sources("core"), *sources("backends")]:
        path = file.relative_to(ROOT).as_posix()
        if not path.startswith("core/tools/"):
            found += [f"{path}:{line}" for line in unheld(path, ast.parse(file.read_text()))]
    assert not found


@pytest.mark.parametrize(
    "text", ["with np.errstate(): pass", "@torch.no_grad()\ndef _step(self): pass"]
)
def test_control_others_are_found(text):
    assert unheld("backends/torch/optim/optimizer.py", ast.parse(text)) == [1]


def trace(*_):
    return None


def torch_s(function, *args):
    return lambda: getattr(pytest.importorskip("torch"), function)(*args)


@pytest.mark.parametrize(
    ("mode", "switch", "back"),
    [
        ("numpy's errors", lambda: np.seterr(over="raise"), lambda: np.seterr(over="warn")),
        ("trace", lambda: sys.settrace(trace), lambda: sys.settrace(None)),
        ("profile", lambda: sys.setprofile(trace), lambda: sys.setprofile(None)),
        ("warnings", lambda: warnings.simplefilter("always"), lambda: warnings.filters.pop(0)),
        ("chosen backend", lambda: choice._chosen.set("numpy"), lambda: choice._chosen.set(None)),
        ("autograd", torch_s("set_grad_enabled", False), torch_s("set_grad_enabled", True)),
    ],
)
def test_control_what_stays_switched_is_noticed(mode, switch, back):
    try:
        with pytest.raises(AssertionError, match=mode), modes_stay():
            switch()
    finally:
        back()


def test_control_another_handler_is_noticed():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(AssertionError, match="SIGINT"), modes_stay():
        signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGINT, before)


def test_the_fixture_is_in_every_test(request):
    assert "_modes_stay" in request.fixturenames
