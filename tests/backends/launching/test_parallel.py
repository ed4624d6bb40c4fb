"""Threads, forks and processes: the bits do not depend on them."""

from __future__ import annotations

import concurrent.futures
import os
import sys
import threading

import numpy as np
import pytest
import samestep as ss
from helpers import (
    assert_same,
    needs_numba,
    random_like,
    run_python,
    snapshot,
)
from samestep.backends.launching import pool as pools

CHUNK = 65_536
SHAPES = [(5 * CHUNK + 123,), (3, CHUNK // 2, 2), (0,), (7,), (501, 300)]
RULES = ["adamw", "lamb"]


def steps(rule, backend, seed=0, count=2):
    params = random_like([np.empty(shape, np.float32) for shape in SHAPES], seed)
    optimizer = ss.Optimizer(rule, params, backend=backend)
    for step in range(count):
        optimizer.step(random_like(params, 10 * seed + step))
    return snapshot(optimizer)


@pytest.fixture(scope="module")
def reference():
    return {rule: steps(rule, "numpy") for rule in RULES}


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("rule", RULES)
def test_the_number_of_threads_does_not_change_a_bit(
    rule, threads, backend, reference, monkeypatch
):
    monkeypatch.setenv("SAMESTEP_THREADS", str(threads))
    assert_same(steps(rule, backend), reference[rule])


@needs_numba
def test_control_more_threads_really_take_part(monkeypatch):
    """Otherwise the test above would compare one thread with itself."""
    monkeypatch.setenv("SAMESTEP_THREADS", "3")
    ranges, seen = [], []

    class Watched(pools.Pool):
        def run(self, function, args, cuts):
            ranges.append(len(cuts) - 1)
            barrier = threading.Barrier(3, timeout=60)

            def meet(first, last):
                seen.append(threading.get_ident())
                barrier.wait()

            super().run(meet, (), [0, 1, 2, 3])
            super().run(function, args, cuts)

    monkeypatch.setattr(pools, "_pool", Watched(3))
    steps("adamw", "numba", count=1)
    assert ranges
    assert min(ranges) >= 3
    assert len(set(seen)) >= 3


@needs_numba
def test_the_number_of_threads_may_change_between_steps(monkeypatch):
    params = random_like([np.empty(shape, np.float32) for shape in SHAPES], 0)
    expected = [p.copy() for p in params]
    optimizer = ss.LAMB(params, backend="numba")
    plain = ss.LAMB(expected, backend="numpy")
    for step, threads in enumerate(["1", "3", "2", "1"]):
        monkeypatch.setenv("SAMESTEP_THREADS", threads)
        grads = random_like(params, step)
        optimizer.step(grads)
        plain.step(grads)
    assert_same(snapshot(optimizer), snapshot(plain))


@pytest.mark.parametrize("threads", [1, 3])
def test_several_python_threads_may_step_optimizers_of_their_own_at_once(
    threads, backend, reference, monkeypatch
):
    monkeypatch.setenv("SAMESTEP_THREADS", str(threads))
    callers = 4
    barrier = threading.Barrier(callers, timeout=60)

    def work(number):
        barrier.wait()
        return steps(RULES[number % 2], backend)

    with concurrent.futures.ThreadPoolExecutor(callers) as executor:
        results = list(executor.map(work, range(callers)))
    for number, result in enumerate(results):
        assert_same(result, reference[RULES[number % 2]])


FORK = """
import os, threading, warnings
import numpy as np
import samestep as ss
from helpers import random_like, snapshot, assert_same

def optimizer_and_gradients():
    params = [np.ones(300_000, np.float32), np.ones((400, 300), np.float32)]
    return ss.LAMB(params, backend={backend!r}), random_like(params, 0)

reference, grads = optimizer_and_gradients()
for _ in range(3):
    reference.step(grads)
optimizer, _ = optimizer_and_gradients()
optimizer.step(grads)  # the pool runs
with warnings.catch_warnings():  # Python 3.12 warns of threads, which is what is tested
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork()
if child == 0:
    try:
        {in_child}
        optimizer.step(grads)
        new = ss.RMSprop(np.ones(200_000), backend={backend!r})  # something to compile or load
        new.step(np.ones(200_000))
        optimizer.step(grads)
        assert_same(snapshot(optimizer), snapshot(reference))
        helpers = [t.name for t in threading.enumerate()].count("samestep")
        assert helpers == {helpers}, helpers  # the parent's threads are not here
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
optimizer.step(grads)
optimizer.step(grads)
assert_same(snapshot(optimizer), snapshot(reference))
print("child exited with", os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_steps_and_so_does_its_parent(backend):
    of_torch = backend.startswith("torch:")  # its own threads wait forever in a child, unless:
    script = FORK.format(
        backend=backend,
        helpers=2 if backend in ("numba", "torch") else 0,
        in_child="import torch; torch.set_num_threads(1)" if of_torch else "",
    )
    printed = run_python(script, SAMESTEP_THREADS="3")
    assert printed == "child exited with 0\n"


FORK_WHILE_COMPILING = """
import os, signal, threading, warnings
import numpy as np
import samestep as ss
from numba.core.event import Listener, register

compiling = threading.Event()

class Watch(Listener):
    def on_start(self, event):
        compiling.set()
    def on_end(self, event):
        pass

register("numba:compile", Watch())
step = lambda name: ss.Optimizer(name, [np.ones(3)], backend="numba").step([np.ones(3)])
step("sgd")
compiling.clear()
thread = threading.Thread(target=step, args=("lamb",))
thread.start()
assert compiling.wait(60)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork()
if child == 0:
    signal.alarm(60)  # which ends it if it waits for ever
    step("adamw")
    os._exit(0)
_, status = os.waitpid(child, 0)
thread.join()
print("child exited with", os.waitstatus_to_exitcode(status))
"""


@needs_numba
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_while_another_thread_compiles_can_step(tmp_path):
    printed = run_python(
        FORK_WHILE_COMPILING, SAMESTEP_CACHE_DIR=str(tmp_path / "cache"), NUMBA_CACHE_DIR=""
    )
    assert printed == "child exited with 0\n"


# ---- the pool itself


def test_every_range_is_run_exactly_once():
    pool = pools.Pool(4)
    for ranges in (0, 1, 2, 7, 500):
        done = []
        pool.run(lambda x, first, last: done.append((x, first, last)), ("x",), range(ranges + 1))  # noqa: B023
        assert sorted(done) == [("x", i, i + 1) for i in range(ranges)]


@pytest.mark.parametrize("where", ["worker", "caller"])
def test_an_exception_in_a_range_reaches_the_caller_after_all_ranges_are_done(where):
    pool = pools.Pool(2)
    caller, done = threading.get_ident(), []
    barrier = threading.Barrier(2, timeout=60)

    def fail_once(first, last):
        if first < 2:
            barrier.wait()  # one of the first two ranges on each thread
            if (threading.get_ident() == caller) == (where == "caller"):
                raise ZeroDivisionError(where)
        done.append(first)

    with pytest.raises(ZeroDivisionError, match=where):
        pool.run(fail_once, (), range(11))
    assert len(done) == 9
    pool.run(lambda first, last: done.append(first), (), [0, 1])  # the pool is as good as new
    assert len(done) == 10


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_interrupts_are_passed_on(exception):
    def interrupt(first, last):
        raise exception

    with pytest.raises(exception):
        pools.Pool(2).run(interrupt, (), [0, 1, 2])


def test_the_default_number_of_threads_is_what_this_process_may_use(monkeypatch):
    monkeypatch.delenv("SAMESTEP_THREADS", raising=False)
    if sys.platform == "linux":
        assert pools.thread_count() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("SAMESTEP_THREADS", "5")
    assert pools.thread_count() == 5


def test_memory_of_a_launch_does_not_grow_with_the_model():
    """The launch table takes at most 64 bytes a chunk; a step takes nothing that grows."""
    import tracemalloc

    for elements in (10_000_000, 20_000_000):
        params, grads = [np.zeros(elements, np.float32)], [np.zeros(elements, np.float32)]
        optimizer = ss.AdamW(params, backend="numba")
        optimizer.step(grads)
        (bucket,) = optimizer._run.stepping._work.updates
        table = bucket._launch.launch_table
        arrays = [a for a in vars(table).values() if isinstance(a, np.ndarray)]
        assert sum(a.nbytes for a in arrays) <= 64 * len(table.table)
        tracemalloc.start()
        optimizer.step(grads)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_000_000
