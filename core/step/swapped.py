"""The averages of parameters in the places of the parameters, for evaluation, and what is refused
then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..interrupts import held
from ..pages import see

Pairs = Sequence[tuple[Any, Any]]  # a parameter, and what is written into it


def check_own(swapped: bool) -> None:
    """Raise RuntimeError while averages are in the places of the parameters."""
    if swapped:
        raise RuntimeError(
            "the averages are in the places of the parameters: leave `with opt.averages():` first"
            f"{see('howto/averages.md')}"
        )


def check_kept(kept: bool) -> None:
    """Raise ValueError if no group keeps an average."""
    if not kept:
        raise ValueError(
            "this optimizer keeps no averages; make it with average='ema' or average='mean'"
            f"{see('howto/averages.md')}"
        )


@contextlib.contextmanager
def swapped(
    alone: AbstractContextManager[Any],
    find: Callable[[], Pairs],
    copy: Callable[[Any], Any],
    write: Callable[[Pairs], None],
    note: Callable[[bool], None],
    follow: Callable[[Pairs], None] | None = None,
) -> Iterator[None]:
    """Write averages into parameters, and the parameters' own values back, after an exception, too.

    ``find`` returns the pairs of a parameter and its average, ``copy`` a parameter's own value, and
    ``note`` is told whether averages are there. ``follow`` has own values written into other arrays
    that have come into the places of parameters meanwhile. ``alone`` is entered while they are
    written.
    """
    own: list[tuple[Any, Any]] | None = None
    try:
        # an interrupt that came meanwhile takes effect as this block ends: all is put back then,
        # too
        with alone, held():
            pairs = find()
            own = [(param, copy(param)) for param, _ in pairs]
            note(True)
            write(pairs)
        yield
    finally:
        if own is not None:
            with held():
                write(own)
                note(False)
                if follow is not None:
                    follow(own)
