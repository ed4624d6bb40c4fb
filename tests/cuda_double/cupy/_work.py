"""What a device has to do. Nothing is done before somebody waits for it: whoever reads too early,
or overwrites what a copy still needs, is found out. Streams are only ordered where CUDA orders
them, and the one that was used last runs first."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

from .cuda.runtime import CUDARuntimeError, error

Work = Callable[[], None]
number = itertools.count(1)
_streams: dict[int, Stream] = {}  # by pointer
_current: list[Stream] = []


class Stream:
    null: Stream

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: Any = None,
    ) -> None:
        self.ptr = 0 if null else 0x1000 + 16 * next(number)
        self._blocking = not non_blocking
        self._queue: list[tuple[int, Work]] = []
        self._captured: list[Work] | None = None
        _streams[self.ptr] = self

    def __enter__(self) -> Stream:
        _current.append(self)
        return self

    def __exit__(self, *args: Any) -> None:
        _current.pop()

    def use(self) -> Stream:
        _current[-1:] = [self]
        return self

    def record(self, event: Event | None = None) -> Event:
        event = event or Event(disable_timing=True)
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if self._captured is not None and not event._captured:
            raise error("cudaErrorStreamCaptureIsolation")
        self._add(event._happen)

    def synchronize(self) -> None:
        check_not_capturing()
        self._run_before(next(number))

    def begin_capture(self, mode: Any = None) -> None:
        if self.ptr == 0:
            raise error("cudaErrorStreamCaptureUnsupported")
        self._captured = []

    def end_capture(self) -> Graph:
        graph = Graph.__new__(Graph)
        graph._work, self._captured = self._captured, None
        return graph

    def is_capturing(self) -> bool:
        return self._captured is not None

    def _add(self, work: Work) -> None:
        if self._captured is not None:
            self._captured.append(work)
        else:
            self._queue.append((next(number), work))

    def _run_before(self, until: int) -> None:
        """Do everything that was added before this number, and what must precede it."""
        while self._queue and self._queue[0][0] < until:
            first, work = self._queue[0]
            for other in reversed(_streams.values()):
                legacy = (self.ptr == 0 and other._blocking) or (other.ptr == 0 and self._blocking)
                if other is not self and legacy:
                    other._run_before(first)
            if self._queue and self._queue[0][0] == first:
                self._queue.pop(0)
                work()


Stream.null = Stream(null=True)


class ExternalStream(Stream):
    def __init__(self, ptr: int, device_id: int = -1) -> None:
        vars(self).update(vars(_streams[ptr]))  # the same lists

    def _add(self, work: Work) -> None:
        _streams[self.ptr]._add(work)


class Event:
    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        self._stream: Stream | None = None
        self._recorded, self._captured = 0, False

    def record(self, stream: Stream | None = None) -> None:
        self._stream = _streams[(stream or get_current_stream()).ptr]
        self._captured = self._stream.is_capturing()
        self._recorded = next(number)

    def synchronize(self) -> None:
        check_not_capturing()
        self._happen()

    @property
    def done(self) -> bool:
        check_not_capturing()
        queue = [] if self._stream is None else self._stream._queue
        return not queue or queue[0][0] > self._recorded

    def _happen(self) -> None:
        if self._stream is not None:
            self._stream._run_before(self._recorded)


class Graph:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("currently this class is not allowed to be directly instantiated")

    def launch(self, stream: Stream | None = None) -> None:
        for work in self._work:
            (stream or get_current_stream())._add(work)


def get_current_stream(device_id: int = -1) -> Stream:
    return _current[-1] if _current else Stream.null


def stream_at(ptr: int) -> Stream:
    """The stream with this handle."""
    return _streams[ptr]


def later(work: Work, stream: Stream | None = None) -> None:
    """Do it on the stream when its turn comes."""
    (stream or get_current_stream())._add(work)


def check_not_capturing() -> None:
    """Waiting and allocating are not permitted while a stream is capturing."""
    if any(stream.is_capturing() for stream in _streams.values()):
        raise error("cudaErrorStreamCaptureUnsupported")


def run_everything() -> None:
    """As ``cudaDeviceSynchronize``."""
    check_not_capturing()
    for stream in reversed(list(_streams.values())):
        stream._run_before(sys.maxsize)


__all__ = ["CUDARuntimeError", "Event", "ExternalStream", "Graph", "Stream", "get_current_stream"]
