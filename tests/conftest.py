"""Which backends run, and what must hold for the whole run."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import samestep as ss

VARIABLE = "SAMESTEP_TEST_BACKENDS"


def backends_under_test() -> list[str]:
    """Those that ``SAMESTEP_TEST_BACKENDS`` names (comma separated): they must run. By default
    those that can run here and take NumPy arrays."""
    if named := os.environ.get(VARIABLE):
        return [name.strip() for name in named.split(",")]
    usable = [name for name, status in ss.available_backends().items() if status.available]
    return [name for name in usable if ss.get_backend(name).accepts(np.zeros(1))]


@pytest.fixture(params=backends_under_test())
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend; one that was asked for and cannot run is a failure, not a skip."""
    status = ss.available_backends().get(request.param.partition(":")[0])
    assert status is not None, f"{VARIABLE}: there is no backend {request.param!r}"
    assert status.available, f"{VARIABLE}: {request.param} cannot run: {status.detail}"
    return request.param


@pytest.fixture(params=[name for name in backends_under_test() if name != "numpy"])
def other_backend(request: pytest.FixtureRequest) -> str:
    """Every backend but the reference, to compare with it."""
    return request.param


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests choose backend and threads themselves. The kernel cache stays the usual one: a run
    with a cache of its own would compile everything again."""
    monkeypatch.delenv("SAMESTEP_BACKEND", raising=False)
    monkeypatch.delenv("SAMESTEP_THREADS", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_imported_under_its_folder_s_name():
    """``python -m pytest`` puts the checkout on ``sys.path``, so ``import core`` would load every
    module a second time."""
    yield
    doubled = {"core", "backends", "golden"} & set(sys.modules)
    assert not doubled, f"imported as a top-level module: {sorted(doubled)}"
