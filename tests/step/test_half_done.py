"""A step with several launches is taken whole or not at all: what may fail does so before the
first."""

import contextlib
import copy
import sys
import threading
import tracemalloc

import numpy as np
import pytest
import samestep as ss
from helpers import needs_numba, refused, run_python
from samestep.backends.launching import pool as pools
from samestep.backends.numpy.launch import NumpyLaunch
from samestep.step.launches import Bucket

GRADS = [np.ones(300_000, np.float32), np.ones((300, 1000))]


def of_two_dtypes(backend, rule="lamb", **options):
    params = [np.ones(grad.shape, grad.dtype) for grad in GRADS]
    return ss.Optimizer(rule, params, backend=backend, **options)


@contextlib.contextmanager
def second_fails(monkeypatch, owner, name):
    """The second call of a method raises MemoryError."""
    method, calls = getattr(owner, name), []

    def failing(self, *args):
        calls.append(self)
        if len(calls) == 2:
            raise MemoryError("none is left")
        return method(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, failing)
        yield
    assert len(calls) == 2


@pytest.mark.parametrize("options", [{}, {"clip_global_norm": 1.0}, {"accumulation_steps": 2}])
def test_what_the_second_launch_cannot_get_is_missed_before_the_first_runs(
    backend, options, monkeypatch
):
    optimizer = of_two_dtypes(backend, **options)
    for _ in range(options.get("accumulation_steps", 1)):
        optimizer.step(GRADS)
    with (
        second_fails(monkeypatch, Bucket, "ready"),
        refused(optimizer, MemoryError, "none is left"),
    ):
        optimizer.step(GRADS)
    assert optimizer.micro_steps == 0


def test_control_a_run_that_fails_is_noticed(backend, monkeypatch):
    optimizer = of_two_dtypes(backend)
    optimizer.step(GRADS)
    with (
        second_fails(monkeypatch, Bucket, "run"),
        pytest.raises(AssertionError),
        refused(optimizer, MemoryError, "none is left"),
    ):
        optimizer.step(GRADS)


def test_the_reference_has_the_memory_of_its_sums_before_it_runs(monkeypatch):
    """What it allocates while it runs does not grow with a tensor."""
    peaks, run = [], NumpyLaunch.run

    def traced(self, *args):
        tracemalloc.start()
        run(self, *args)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    monkeypatch.setattr(NumpyLaunch, "run", traced)
    for size in (4_000_000, 16_000_000):
        optimizer = ss.LAMB([np.ones(size, np.float32)], backend="numpy")
        optimizer.step([np.ones(size, np.float32)])
    assert max(peaks) < 1.1 * min(peaks)


THREADS = """
import resource, threading, warnings
import numpy as np, samestep as ss
{before}
params = [np.ones(300_000, np.float32), np.ones(300_000)]
opt = ss.Adam(params, backend="numba")
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(3):
        opt.step([np.ones(300_000, np.float32), np.ones(300_000)])
expected = [np.ones(300_000, np.float32), np.ones(300_000)]
reference = ss.Adam(expected, backend="numpy")
for _ in range(3):
    reference.step([np.ones(300_000, np.float32), np.ones(300_000)])
assert all((a == b).all() for a, b in zip(params, expected)), "bits"
assert opt.steps == [3, 3]
print([str(w.message) for w in seen], threading.active_count())
"""
NONE_START = """
def start(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
"""


@needs_numba
def test_threads_that_cannot_start_are_done_without():
    printed = run_python(THREADS.format(before=NONE_START), SAMESTEP_THREADS="3")
    assert printed.count("1 of 3 threads could be started") == 1  # said once
    assert printed.endswith(" 1\n")


LIMIT = """
import os
for backend in ("numba", "numpy"):  # compiled and imported before; too small for threads
    opt = ss.Adam([np.ones(3, np.float32), np.ones(3)], backend=backend)
    opt.step([np.ones(3, np.float32), np.ones(3)])
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
if os.getuid() == 0:  # who has no limit
    os.setuid(65534)
"""


@needs_numba
@pytest.mark.skipif(sys.platform != "linux", reason="limits processes as Linux does")
def test_a_user_who_may_start_no_more_processes_steps_alone():
    printed = run_python(THREADS.format(before=LIMIT), SAMESTEP_THREADS="3")
    assert printed.count("1 of 3 threads could be started, and a step takes longer; set SAM") == 1
    assert printed.endswith(" 1\n")


@needs_numba
def test_more_threads_than_any_processor_has_use_for_are_not_started():
    printed = run_python(THREADS.format(before=""), SAMESTEP_THREADS="100000")
    most = pools.MOST_PER_CORE * pools.os.cpu_count()
    assert printed == f"[] {most}\n"


@needs_numba
def test_threads_that_could_be_started_do_the_work(monkeypatch):
    start, started = threading.Thread.start, []

    def limited(self):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    pool, seen = pools.Pool(8), set()
    barrier = threading.Barrier(3, timeout=60)

    def job(first, last):
        seen.add(threading.get_ident())
        barrier.wait()

    pool.run(job, (), range(4))
    assert (pool.threads, len(seen)) == (3, 3)
    pool.retire()
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()


MATRIX_RULES = ["muon", {"rule": "galore", "rank": 2}, "soap", "shampoo", "psgd_kron"]


@contextlib.contextmanager
def matrix_call_fails(optimizer, monkeypatch, number):
    """The call with this number of functions of whole matrices raises; not what writes their
    states."""
    owner, calls = type(optimizer.backend), []
    on_matrices = owner.on_matrices

    def failing(self, function, *args):
        if function.__name__ != "_store":
            calls.append(function)
            if len(calls) == number:
                raise np.linalg.LinAlgError("no eigenvalues")
        return on_matrices(self, function, *args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, "on_matrices", failing)
        yield calls


@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 2}, {"clip_global_norm": 1.0}])
@pytest.mark.parametrize("rule", MATRIX_RULES, ids=str)
def test_a_function_of_a_matrix_fails_before_anything_is_written(
    rule, options, backend, monkeypatch
):
    """Of several launches, by rules or by dtypes, none has run, and no micro-batch is lost."""
    rng = np.random.default_rng(0)

    def drawn():
        matrix = rng.standard_normal((6, 4))
        return {"w": matrix, "v": matrix.astype(np.float32), "b": rng.standard_normal(4)}

    grads, params = drawn(), drawn()
    optimizer = ss.Optimizer("adamw", params, rules={"w|v": rule}, backend=backend, **options)
    micro_steps = options.get("accumulation_steps", 1)
    for _ in range(2 * micro_steps - 1):
        optimizer.step(grads)
    with matrix_call_fails(optimizer, monkeypatch, 0) as calls:
        copy.deepcopy(optimizer).step(grads)
    before = optimizer.state_dict()
    assert len(calls) >= 2
    for number in range(1, len(calls) + 1):
        with (
            matrix_call_fails(optimizer, monkeypatch, number),
            refused(optimizer, np.linalg.LinAlgError, "no eigenvalues"),
        ):
            optimizer.step(grads)
        after = optimizer.state_dict()
        assert after["micro_steps"] == before["micro_steps"] == micro_steps - 1
        for i, expected in before["accumulated"].items():
            assert (after["accumulated"][i] == expected).all()
    optimizer.step(grads)
    assert optimizer.steps_taken == 2
