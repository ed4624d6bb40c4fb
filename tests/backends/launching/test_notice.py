"""Who waits at a terminal while kernels are compiled is told so, once; nobody else is."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import samestep as ss
from conftest import needs_double
from helpers import on
from samestep.backends.launching import notice, source_cache


@pytest.fixture
def terminal(monkeypatch):
    """A terminal for stderr, little patience, and a process that has said nothing."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(notice, "PATIENCE", 0.01)
    monkeypatch.setattr(notice, "_said", threading.Event())


def heard(tmp_path, seconds, filters="always"):
    """What is said while a block takes this long, twice."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(filters)
        for _ in range(2):
            with notice.compiling(tmp_path):
                time.sleep(seconds)
    return [str(each.message) for each in caught]


@pytest.mark.usefixtures("terminal")
def test_it_is_said_once_with_the_folder(tmp_path):
    (text,) = heard(tmp_path, 0.2)
    assert text == f"kernels are being compiled, this once; later processes find them in {tmp_path}"


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("filters", ["ignore", "error"])
def test_a_filter_silences_it_and_makes_no_error_of_it(tmp_path, filters, capfd):
    assert heard(tmp_path, 0.2, filters) == []
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("terminal")
def test_what_is_quick_is_not_mentioned(tmp_path, monkeypatch):
    monkeypatch.setattr(notice, "PATIENCE", 60)
    assert heard(tmp_path, 0) == []


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("stderr", ["a log", None])
def test_logs_and_notebooks_have_none_of_it(tmp_path, monkeypatch, stderr):
    monkeypatch.setattr(sys, "stderr", None if stderr is None else sys.__stdout__)
    if stderr:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert heard(tmp_path, 0.2) == []


@pytest.mark.usefixtures("terminal")
def test_where_no_thread_can_be_started_the_work_goes_on(tmp_path, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert heard(tmp_path, 0) == []


def test_it_is_about_kernels_that_nobody_has_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMESTEP_CACHE_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    begun = []
    monkeypatch.setattr(
        source_cache,
        "compiling",
        lambda folder: begun.append(folder) or contextlib.nullcontext(),
    )
    key = source_cache.load("a_kernel", "x = 1").__name__.removeprefix("samestep_kernel_")
    assert begun == [tmp_path]
    del source_cache._modules[key]
    (tmp_path / f"{key}.update-1.py311.nbi").touch()  # as Numba names what it has compiled
    source_cache.load("a_kernel", "x = 1")
    assert begun == [tmp_path]


def scalars(xp, step, carry, h):
    return dict(lr=h.lr), carry


def update(xp, s, param, grad):
    return param - s.lr * (grad - 3)


@needs_double
def test_kernels_of_a_device_are_announced_too(tmp_path, monkeypatch):
    from samestep.backends.cuda import compiler

    monkeypatch.setenv("SAMESTEP_CACHE_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    begun = []
    monkeypatch.setattr(
        compiler, "compiling", lambda folder: begun.append(folder) or contextlib.nullcontext()
    )
    rule = ss.Rule("never_seen_before", scalars, update, defaults=dict(lr=0.1))
    optimizer = ss.Optimizer(rule, on("cupy", np.ones(3)), backend="cupy")
    optimizer.step(on("cupy", np.ones(3)))
    assert {*begun} == {tmp_path}
