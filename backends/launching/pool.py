"""A small thread pool for serial kernels that release the GIL.

None of Numba's own threading layers serves: OpenMP's dies after a fork, and the default one
aborts the process when two Python threads launch at once. Here every caller works on its own job
and the pool's threads help; a forked child starts a pool of its own.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

VARIABLE = "SAMESTEP_THREADS"


class _Job:
    """A function to call on consecutive ranges."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], cuts: Sequence[int]):
        self.function, self.args, self.cuts = function, args, cuts
        self.lock, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()  # released when the last range is done
        self.next = self.finished = 0
        self.error: BaseException | None = None

    def work(self) -> None:
        """Take ranges until there are none left."""
        ranges = len(self.cuts) - 1
        while True:
            with self.lock:
                i, self.next = self.next, self.next + 1
            if i >= ranges:
                return
            try:
                self.function(*self.args, self.cuts[i], self.cuts[i + 1])
            except BaseException as error:
                self.error = error
            with self.lock:
                self.finished += 1
                if self.finished == ranges:
                    self.done.release()


class Pool:
    """A pool of ``threads`` threads in all, the caller among them."""

    def __init__(self, threads: int, flushes: Callable[[], bool]) -> None:
        self.threads, self._flushes = threads, flushes
        self._found_flushing = [False] * (threads - 1)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        for i in range(threads - 1):
            threading.Thread(target=self._serve, args=(i,), name="samestep", daemon=True).start()

    @property
    def flushing(self) -> bool:
        """True if a worker flushed subnormals to zero when it last looked."""
        return any(self._found_flushing)

    def _serve(self, i: int) -> None:
        while True:
            self._found_flushing[i] = self._flushes()
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
        if len(cuts) < 2:
            return
        job = _Job(function, args, cuts)
        for _ in range(min(self.threads, len(cuts) - 1) - 1):
            self._jobs.put(job)
        job.work()
        with job.done:
            pass
        if job.error is not None:
            raise job.error


def thread_count() -> int:
    """Return ``SAMESTEP_THREADS``, by default the number of cores this process may use."""
    wanted = os.environ.get(VARIABLE)
    if wanted:
        try:
            threads = int(wanted)
        except ValueError:
            threads = 0
        if threads < 1:
            raise ValueError(f"{VARIABLE}={wanted!r}: expected a positive number of threads")
        return threads
    return _CORES


def workers_flush() -> bool:
    """Say whether a worker of this process's pool was found to flush subnormals to zero."""
    return _pool is not None and _pool.flushing


_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_pool: Pool | None = None
_lock = threading.Lock()


def get_pool(flushes: Callable[[], bool]) -> Pool:
    """Return this process's pool, with as many threads as `thread_count` says now."""
    global _pool
    threads = thread_count()
    pool = _pool
    if pool is None or pool.threads != threads:
        with _lock:
            if _pool is None or _pool.threads != threads:
                if _pool is not None:
                    _pool.retire()
                _pool = Pool(threads, flushes)
            pool = _pool
    return pool


def _forget() -> None:
    """Forget the pool in a forked child: the parent's threads do not exist here."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
