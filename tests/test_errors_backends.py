"""Backends and variables that cannot be used."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import samestep as ss
from helpers import refused


def test_a_wrong_backend_is_named_with_its_source_and_those_there_are(monkeypatch):
    with pytest.raises(ValueError, match="backend='nmpy': no such backend; there are auto, numpy"):
        ss.SGD(np.ones(2), backend="nmpy")
    with pytest.raises(ValueError, match="use_backend='nmpy': no such"), ss.use_backend("nmpy"):
        pass
    monkeypatch.setenv("SAMESTEP_BACKEND", "nmpy")
    with pytest.raises(ValueError, match="SAMESTEP_BACKEND='nmpy': no such backend"):
        ss.SGD(np.ones(2))
    ss.SGD(np.ones(2), backend="numpy")  # the variable is not looked at


def test_a_missing_framework_is_named_with_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "numba" else found(name, *a)
    )
    status = ss.available_backends()["numba"]
    assert not status.available
    assert status.detail == "Numba is not installed"
    message = r"backend 'numba' \({}\) cannot run here: Numba is not .*pip install 'samestep\[numba"
    with pytest.raises(RuntimeError, match=message.format("backend")):
        ss.SGD(np.ones(2), backend="numba")
    with (
        ss.use_backend("numba"),
        pytest.raises(RuntimeError, match=message.format("use_backend")),
    ):
        ss.SGD(np.ones(2))
    monkeypatch.setenv("SAMESTEP_BACKEND", "numba")
    with pytest.raises(RuntimeError, match=message.format("SAMESTEP_BACKEND")):
        ss.SGD(np.ones(2))
    monkeypatch.setenv("SAMESTEP_BACKEND", "auto")
    assert ss.SGD(np.ones(2)).backend.name == "numpy"


class Broken:
    """An entry point of somebody's package."""

    name, value = "broken", "a_package_that_is_not_there"


def test_a_backend_of_somebody_s_that_cannot_be_imported_is_one_that_cannot_run(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Broken])
    status = ss.available_backends()["broken"]
    assert not status.available
    assert status.detail == "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"
    with pytest.raises(RuntimeError, match=r"backend 'broken' \(backend\) cannot run here: Module"):
        ss.SGD(np.ones(2), backend="broken")
    ss.SGD(np.ones(2))


@pytest.mark.parametrize("threads", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads_is_refused(threads, monkeypatch):
    if not ss.available_backends()["numba"].available:
        pytest.skip("only compiled backends use threads")
    optimizer = ss.SGD(np.ones(2), backend="numba")
    optimizer.step(np.ones(2))
    monkeypatch.setenv("SAMESTEP_THREADS", threads)
    with refused(optimizer, ValueError, f"SAMESTEP_THREADS='{threads}': expected a positive num"):
        optimizer.step(np.ones(2))
