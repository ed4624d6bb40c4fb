"""One optimizer is stepped by one thread at a time."""

from __future__ import annotations

from _thread import get_ident

from ..pages import see


class OneThread:
    """Lets one thread in at a time. Another one gets an error instead of an update that is lost.

    There is nothing to wait for: who has two threads step one optimizer means two optimizers, or a
    lock around gradient and step.
    """

    __slots__ = ("_inside",)

    def __init__(self) -> None:
        # its setdefault is atomic, and an interrupt locks nobody out
        self._inside: dict[str, int] = {}

    def __enter__(self) -> None:
        me = get_ident()
        if self._inside.setdefault("thread", me) != me:
            raise RuntimeError(
                "this optimizer is being used by another thread; its steps follow each other. Give "
                "each thread an optimizer of its own, or hold a lock around gradients and step"
                f"{see('threads.md')}"
            )

    def __exit__(self, *_: object) -> None:
        self._inside.clear()
