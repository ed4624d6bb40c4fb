"""The arithmetic of a thread: other libraries switch the processor, and results are then others."""

from __future__ import annotations

from typing import NoReturn

from ...pages import see

SUBNORMAL, ONE, TINY = 5e-324, 1.0, 2.0**-60  # names, so that they are computed with at run time
FLUSHES, ROUNDS = "flushes subnormal numbers to zero", "rounds otherwise than to nearest"
CAUSES = {
    FLUSHES: "torch.set_flush_denormal(True)",
    ROUNDS: "C's fesetround, which libraries for interval arithmetic call",
}


def fault() -> str:
    """Return what this thread's processor does otherwise than IEEE 754 by default; "" for
    nothing."""
    # rounded upwards, the first is more than one; downwards or towards zero, the second is less
    if not ONE + TINY == ONE == ONE - TINY:
        return ROUNDS
    return FLUSHES if SUBNORMAL * ONE == 0.0 else ""


def check_caller(may_flush: bool = False) -> None:
    """Raise RuntimeError if this thread's arithmetic is not the usual one; ``may_flush`` where only
    scalars are computed on the host, which no subnormal number matters to."""
    if (found := fault()) and not (may_flush and found == FLUSHES):
        raise RuntimeError(
            f"this thread {found} (something has switched the processor, for example "
            f"{CAUSES[found]}); a step would not have the same bits everywhere. Switch it back "
            f"before stepping{see('threads.md')}"
        )


def refuse_worker(found: str) -> NoReturn:
    """Raise RuntimeError for what a worker thread found of its own arithmetic."""
    raise RuntimeError(
        f"a worker thread {found} (something that ran in it has switched the processor); a step "
        "would not have the same bits everywhere. Start a new process"
        f"{see('threads.md')}"
    )
