"""A small thread pool for serial kernels that release the GIL.

None of Numba's own threading layers serves: OpenMP's dies after a fork, and the default one
aborts the process when two Python threads launch at once. Here every caller works on its own job
and the pool's threads help; a forked child starts a pool of its own.
"""

from __future__ import annotations

import collections
import itertools
import os
import queue
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from . import arithmetic

VARIABLE = "SAMESTEP_THREADS"
MOST_PER_CORE = 4


class _Job:
    """A function to call on consecutive ranges."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], cuts: Sequence[int]):
        self.function, self.args = function, args
        self.ranges = collections.deque(itertools.pairwise(cuts))  # its pop needs no lock
        self.outcomes: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work(self) -> None:
        """Take ranges until there are none left, and put an outcome for each: what it raised, or
        None."""
        while True:
            try:
                first, last = self.ranges.popleft()
            except IndexError:
                return
            outcome = None
            try:
                self.function(*self.args, first, last)
            except BaseException as error:
                outcome = error
            self.outcomes.put(outcome)


class Pool:
    """A pool of ``wanted`` threads in all, the caller among them; ``threads`` could be started."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.threads = wanted, 1
        self._found = [""] * (wanted - 1)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        while self.threads < wanted:
            worker = threading.Thread(
                target=self._serve, args=(self.threads - 1,), name="samestep", daemon=True
            )
            try:
                worker.start()
            except RuntimeError:  # the system starts no more of them
                break
            self.threads += 1

    @property
    def fault(self) -> str:
        """The fault that a worker found in its arithmetic when it last looked; "" for none."""
        for found in self._found:
            if found:
                return found
        return ""

    def _serve(self, i: int) -> None:
        while True:
            self._found[i] = arithmetic.fault()
            job = self._jobs.get()
            if job is None:
                return
            job.work()

    def retire(self) -> None:
        """Let the threads end when they have done what they were given. A caller that still uses
        this pool then does its work alone."""
        for _ in range(self.threads - 1):
            self._jobs.put(None)

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], cuts: Sequence[int]) -> None:
        """Call ``function(*args, first, last)`` on the ranges between ``cuts``; return when all
        are done. Raises what a call raised."""
        job, ranges = _Job(function, args, cuts), len(cuts) - 1
        for _ in range(min(self.threads, ranges) - 1):
            self._jobs.put(job)
        job.work()
        for error in [job.outcomes.get() for _ in range(ranges)]:
            if error is not None:
                raise error


def thread_count() -> int:
    """Return ``SAMESTEP_THREADS``, by default the number of cores this process may use. More than
    `MOST_PER_CORE` threads for each core of the machine are never started."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return _CORES
    if not wanted.strip().isdecimal() or int(wanted) < 1:
        raise ValueError(f"{VARIABLE}={wanted!r}: expected a positive number of threads")
    return min(int(wanted), MOST_PER_CORE * (os.cpu_count() or 1))


def worker_fault() -> str:
    """Return what a worker of this process's pool found of its arithmetic; "" for nothing
    unusual."""
    return "" if _pool is None else _pool.fault


_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_pool: Pool | None = None
_lock = threading.Lock()


def get_pool() -> Pool:
    """Return this process's pool, with as many threads as `thread_count` says now."""
    global _pool
    wanted = thread_count()
    with _lock:
        if _pool is None or _pool.wanted != wanted:
            if _pool is not None:
                _pool.retire()
            _pool = Pool(wanted)
            if _pool.threads < wanted:
                warnings.warn(
                    f"{_pool.threads} of {wanted} threads could be started, and a step takes longer; "
                    f"set {VARIABLE} or raise the limit of processes",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return _pool


def _forget() -> None:
    """Forget the pool in a forked child: the parent's threads do not exist here."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
