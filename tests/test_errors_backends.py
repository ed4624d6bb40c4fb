"""Backends and variables that cannot be used."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re

import numpy as np
import pytest
import samestep as ss
from command_line import call
from helpers import refused


def test_a_wrong_backend_is_named_with_its_source_and_those_there_are(monkeypatch):
    with pytest.raises(
        ValueError, match=r"'nmpy': no such backend; did you mean 'numpy'. there are numpy"
    ):
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
    message = r"backend 'numba'{} cannot run here: Numba is not .*pip install -e '.*\[numba\]'"
    with pytest.raises(RuntimeError, match=message.format("")):
        ss.SGD(np.ones(2), backend="numba")
    with (
        ss.use_backend("numba"),
        pytest.raises(RuntimeError, match=message.format(", chosen by use_backend,")),
    ):
        ss.SGD(np.ones(2))
    monkeypatch.setenv("SAMESTEP_BACKEND", "numba")
    with pytest.raises(RuntimeError, match=message.format(", chosen by SAMESTEP_BACKEND,")):
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
    with pytest.raises(RuntimeError, match=r"backend 'broken' cannot run here: Module"):
        ss.SGD(np.ones(2), backend="broken")
    ss.SGD(np.ones(2))


@pytest.mark.parametrize("threads", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads_is_refused(threads, monkeypatch):
    if not ss.available_backends()["numba"].available:
        pytest.skip("only compiled backends use threads")
    from samestep.backends.numba import SMALL_WORK

    size = 4 * SMALL_WORK  # a smaller step takes one thread, and asks when launches are made
    optimizer, small = (ss.SGD(np.ones(n), backend="numba") for n in (size, 2))
    optimizer.step(np.ones(size))
    monkeypatch.setenv("SAMESTEP_THREADS", threads)
    for each, n in ((optimizer, size), (small, 2)):
        with refused(each, ValueError, f"SAMESTEP_THREADS='{threads}': expected a positive num"):
            each.step(np.ones(n))


def too_old(monkeypatch, numpy=None, **distributions):
    """Pretend that these releases are installed."""
    found, of_torch = importlib.metadata.version, importlib.import_module("samestep.backends.torch")
    for owner in (importlib.metadata, of_torch):
        monkeypatch.setattr(owner, "version", lambda name: distributions.get(name) or found(name))
    monkeypatch.setattr(np, "__version__", numpy or np.__version__)
    of_numba = importlib.import_module("samestep.backends.numba")
    for owner, name in ((of_numba, "_refused"), (of_torch, "_installed")):  # they remember
        monkeypatch.setattr(owner, name, getattr(owner, name).__wrapped__)


@pytest.mark.parametrize(
    ("releases", "names", "detail", "remedy"),
    [
        (dict(numpy="1.26.4"), ("numpy", "numba", "torch", "cupy"),
         "NumPy 1.26.4 is too old, it takes 2.0 or newer", "pip install 'numpy>=2'"),
        (dict(numba="0.60.0"), ("numba",),
         "Numba 0.60.0 is too old, it takes 0.61 or newer", "pip install --upgrade numba"),
        (dict(numba="0.61.0", numpy="9.1.0"), ("numba",),
         r"Numba 0.61.0 takes NumPy older than \d.\d+, and NumPy is 9.1.0", "or pip install 'numpy<"),
        (dict(torch="2.5.1+cu124"), ("torch",),
         r"PyTorch 2.5.1\+cu124 is too old, it takes 2.6 or newer", "pip install 'torch>=2.6'"),
    ],
)  # fmt: skip
def test_what_is_too_old_is_refused_with_what_to_do(
    releases, names, detail, remedy, monkeypatch, capsys
):
    if any(importlib.util.find_spec(name) is None for name in releases):
        pytest.skip("it is not installed")
    too_old(monkeypatch, **releases)
    for name in names:
        status = ss.available_backends()[name]
        assert not status.available
        assert re.search(detail, status.detail)
        assert remedy in status.install
        with pytest.raises(RuntimeError, match=rf"'{name}' cannot run here: {detail}"):
            ss.SGD(np.ones(2), backend=name)
    assert call("backends") == 0
    assert re.search(detail, " ".join(capsys.readouterr().out.split()))


def test_when_nothing_can_run_the_type_of_the_parameters_says_what_should(monkeypatch):
    too_old(monkeypatch, numpy="1.26.4")
    with pytest.raises(
        RuntimeError, match=r"'numpy', chosen by the type of the parameters, cannot"
    ):
        ss.SGD(np.ones(2))


@pytest.mark.parametrize(
    ("name", "meant"), [("cuda", "'cupy' or 'torch'"), ("gpu", "'cupy'"), ("pytorch", "'torch'")]
)
def test_what_some_call_a_backend_is_understood(name, meant):
    with pytest.raises(
        ValueError, match=f"no such backend; did you mean {meant}.* there are numpy"
    ):
        ss.Adam(np.ones(2), backend=name)
