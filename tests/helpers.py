"""What several test files need."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samestep as ss
from gpu.driver import NoGpuError, look
from samestep.golden.compare import first_difference
from samestep.language.dtypes import dtype_of
from samestep.parameters.trees import flatten
from samestep.step.indexed_slices import IndexedSlices

ROOT = Path(__file__).parent.parent
# backends that update tensors in host memory
HOST = ["numpy", "numba", "torch", "torch:forloop", "torch:foreach"]


def sources(folder: str, *, deep: bool = True) -> list[Path]:
    """The Python files of a folder of the checkout."""
    return sorted((ROOT / folder).rglob("*.py") if deep else (ROOT / folder).glob("*.py"))


def leaves(optimizer: ss.Optimizer) -> list[Any]:
    """The parameters of all groups."""
    return [a for group in optimizer.param_groups for a in flatten(group["params"], "params")[0]]


def on(backend: str, tree: Any) -> Any:
    """Arrays of the host, in lists and dicts, where a backend updates them."""
    return _each(ss.get_backend(backend).asarray, tree)


def off(backend: str, tree: Any) -> Any:
    """The way back: copies on the host."""
    return _each(ss.get_backend(backend).to_numpy, tree)


def _each(function: Callable[[Any], Any], tree: Any) -> Any:
    """What a function makes of the arrays in lists, dicts and rows."""
    if isinstance(tree, dict):
        return {key: _each(function, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_each(function, value) for value in tree]
    if isinstance(tree, IndexedSlices):
        return IndexedSlices(function(tree.values), function(tree.indices))
    return None if tree is None else function(tree)


def step(optimizer: ss.Optimizer, grads: Any) -> None:
    """A step with gradients on the host, on any backend."""
    optimizer.step(on(optimizer.backend.name, grads))


def snapshot(optimizer: ss.Optimizer) -> dict[str, Any]:
    """Copies of all parameters, states, carries and step counts, by name."""
    on_host = optimizer.backend.to_numpy
    found = {f"param {i}": on_host(a) for i, a in enumerate(leaves(optimizer))}
    for i, entry in optimizer.state_dict()["state"].items():
        found |= {f"{name} {i}": np.array(value) for name, value in entry.items()}
    return found


def assert_same(ours: dict[str, Any], expected: dict[str, Any]) -> None:
    """Two snapshots have the same names and bits."""
    assert ours.keys() == expected.keys()
    for name, array in ours.items():
        difference = first_difference(array, expected[name])
        assert difference is None, f"{name}: {difference}"


@contextlib.contextmanager
def refused(optimizer: ss.Optimizer, error: type[Exception], message: str) -> Iterator[None]:
    """The block raises ``error`` with ``message`` (a regular expression) and changes nothing."""
    before = snapshot(optimizer)
    with pytest.raises(error, match=message):
        yield
    assert_same(snapshot(optimizer), before)


def random_like(params: Any, seed: int) -> list[Any]:
    """A random gradient for each array of a list."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(p.shape).astype(dtype_of(p)) for p in params]


def run_python(
    script: str, *, check: bool = True, folder: Path = ROOT / "tests", **environment: str
) -> str:
    """Return what ``script``, run in ``folder`` in a process of its own, prints. Warnings are
    errors there."""
    chosen = ("SAMESTEP_BACKEND", "SAMESTEP_THREADS")
    known = {k: v for k, v in os.environ.items() if k not in chosen}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**known, **environment},
        cwd=folder,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + ("" if check else done.stderr)


def run_two_processes(script: str | Path, folder: Path) -> None:
    """``script RANK FOLDER`` for ranks 0 and 1 at the same time, in which warnings are errors."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", script, str(rank), folder], stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=900)
            assert process.returncode == 0, errors.decode()
    finally:
        for process in processes:
            with process:  # waits, so that another test does not get the warning
                process.kill()


def has_gpu() -> bool:
    """Whether there is a GPU and a driver for it."""
    try:
        look()
    except NoGpuError:
        return False
    return True


def set_flush_to_zero(on: bool) -> None:
    """Switch this thread's processor state, as ``torch.set_flush_denormal`` does, through the C
    library's floating-point environment."""
    libm = ctypes.CDLL(None)
    environment = (ctypes.c_uint32 * 8)()
    assert libm.fegetenv(environment) == 0
    # glibc: on x86-64 MXCSR is the last of 8 words, on aarch64 FPCR is the first of 2
    word, bits = {"x86_64": (7, 0x8040), "aarch64": (0, 1 << 24)}[platform.machine()]
    environment[word] = environment[word] & ~bits | (bits if on else 0)
    assert libm.fesetenv(environment) == 0


needs_flush_to_zero = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "aarch64"),
    reason="knows how to switch the processor on Linux, x86-64 and aarch64",
)
needs_numba = pytest.mark.skipif(
    not ss.available_backends()["numba"].available, reason="only compiled kernels use threads"
)
