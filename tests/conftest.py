"""Which tests and backends run, and what must hold for the whole run."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samestep as ss
import sampling
from modes import modes_stay
from samestep import choice

VARIABLE = "SAMESTEP_TEST_BACKENDS"
DOUBLE = "SAMESTEP_TEST_DOUBLE"  # 1: without a GPU, in its place and CuPy's their double

if hasattr(signal, "SIGCHLD"):  # where it is ignored from the start, no exit status is ever seen
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

# threads of PyTorch's that wait for the next operation would take the time of other processes
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when PyTorch is imported

DOUBLED = os.environ.get(DOUBLE) == "1"
if DOUBLED:
    folder = str(Path(__file__).parent / "cuda_double")
    sys.path.insert(0, folder)
    choice.BUILT_IN["doubled"] = "doubled_tensors"  # torch:fused behind the double
    others = os.environ.get("PYTHONPATH")  # of processes that tests start
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{others}" if others else folder


def pytest_configure(config: pytest.Config) -> None:
    """How many tests run is decided once; the processes of xdist are told."""
    told = getattr(config, "workerinput", {})
    config.stash[sampling.AMOUNT] = told.get("amount") or sampling.amount(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of xdist."""
    node.workerinput["amount"] = node.config.stash[sampling.AMOUNT]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not in the sample."""
    config.stash[sampling.COLLECTED] = list(items)
    if config.stash[sampling.AMOUNT] == "sample":
        kept = sampling.sample(items)
        chosen = set(kept)
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = kept


def backends_under_test() -> list[str]:
    """Those that ``SAMESTEP_TEST_BACKENDS`` names (comma separated): they must run. By default
    those that can run here."""
    if named := os.environ.get(VARIABLE):
        return [name.strip() for name in named.split(",")]
    return [name for name, status in ss.available_backends().items() if status.available]


def takes_numpy(name: str) -> bool:
    """Whether a backend updates NumPy arrays; one that cannot run has to fail, so it counts."""
    try:
        return ss.get_backend(name).accepts(np.zeros(1))
    except (RuntimeError, ValueError):
        return True


def usable(name: str) -> str:
    """``name``, if that backend can run."""
    status = ss.available_backends().get(name.partition(":")[0])
    assert status is not None, f"{VARIABLE}: there is no backend {name!r}"
    assert status.available, f"{VARIABLE}: {name} cannot run: {status.detail}"
    return name


needs_double = pytest.mark.skipif(not DOUBLED, reason=f"looks into the double of CuPy ({DOUBLE}=1)")
UNDER_TEST = backends_under_test()
OTHERS = [name for name in UNDER_TEST if name != "numpy"]


@pytest.fixture(params=UNDER_TEST)
def any_backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend; one that was asked for and cannot run is a failure, not a skip.
    `helpers.on` brings arrays to where it updates them."""
    return usable(request.param)


@pytest.fixture(params=OTHERS)
def any_other_backend(request: pytest.FixtureRequest) -> str:
    """Every backend but the reference, to compare with it."""
    return request.param


@pytest.fixture(params=[name for name in UNDER_TEST if takes_numpy(name)])
def backend(request: pytest.FixtureRequest) -> str:
    """As `any_backend`, of those that update NumPy arrays."""
    return usable(request.param)


@pytest.fixture(params=[name for name in OTHERS if takes_numpy(name)])
def other_backend(request: pytest.FixtureRequest) -> str:
    """As `any_other_backend`, of those that update NumPy arrays."""
    return request.param


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for printed C that is compiled: what is compared with every backend is compiled
    once."""
    return tmp_path_factory.mktemp("libraries")


@pytest.fixture(scope="module", autouse=True)
def _young_heap() -> None:
    """What is there already is not looked at when garbage is collected, as compilers make Python do
    all the time: of tens of thousands of other tests and what they imported, that takes a second
    each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _modes_stay():
    """Whatever a test runs leaves the modes of the process as they were."""
    with modes_stay():
        yield


@pytest.fixture(autouse=True)
def _ctrl_c_raises() -> Iterator[None]:
    """In the background, or under nohup, a process is started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests choose backend and threads themselves, and help is as wide as a usual terminal. The
    kernel cache stays the usual one: a run with a cache of its own would compile everything
    again."""
    monkeypatch.delenv("SAMESTEP_BACKEND", raising=False)
    monkeypatch.delenv("SAMESTEP_THREADS", raising=False)
    monkeypatch.setenv("COLUMNS", "100")  # in a narrow one rich leaves out the ends of words


@pytest.fixture(autouse=True)
def _gradients_are_on_again():
    """An interrupt in the few lines of torch's own ``no_grad.__enter__`` leaves gradients off, for
    torch's optimizers as for ours; tests that come later need them."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_grad_enabled(True)


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_imported_under_its_folder_s_name():
    """``python -m pytest`` puts the checkout on ``sys.path``, so ``import core`` would load every
    module a second time."""
    yield
    doubled = {"core", "backends", "golden"} & set(sys.modules)
    assert not doubled, f"imported as a top-level module: {sorted(doubled)}"
