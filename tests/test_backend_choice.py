"""The choice of a backend."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import samestep as ss


def test_argument_beats_context_beats_variable_beats_array_type(backend, monkeypatch):
    def chosen(**argument):
        return ss.SGD(np.ones(2), **argument).backend.name

    default = "numba" if ss.available_backends()["numba"].available else "numpy"
    assert chosen() == default
    monkeypatch.setenv("SAMESTEP_BACKEND", backend)
    assert chosen() == backend
    with ss.use_backend("numpy"):
        assert chosen() == "numpy"
        assert chosen(backend=backend) == backend
        with ss.use_backend(backend):
            assert chosen() == backend
        assert chosen() == "numpy"
        with ss.use_backend("auto"):
            assert chosen() == default
    assert chosen() == backend
    for unset in ("", "auto"):
        monkeypatch.setenv("SAMESTEP_BACKEND", unset)
        assert chosen() == default


def test_use_backend_ends_with_an_error_and_does_not_reach_other_threads(backend):
    seen = []
    before = ss.get_backend().name

    def look_elsewhere_and_fail():
        thread = threading.Thread(target=lambda: seen.append(ss.get_backend().name))
        thread.start()
        thread.join()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ss.use_backend("numpy"):
        look_elsewhere_and_fail()
    assert ss.get_backend().name == before == seen[0]


def test_a_backend_prints_its_name(any_backend):
    assert repr(ss.get_backend(any_backend)) == f"<backend {any_backend!r}>"
