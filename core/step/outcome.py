"""The outcome of a step: taken or left out, known at once or later."""

from __future__ import annotations

from collections.abc import Callable

from ..parameters.clock import Clock
from ..protocol import Verdict


class Outcome:
    """The outcome of a step. It is known once it is `settled`: on a host at once; on a device the
    next step, or whoever wants to know, asks and maybe waits.

    ``updated``: the parameters moved, and so do step counts and carries. ``skipped``: they did
    not, because a gradient was not finite. ``verdict``: what follows from what was measured,
    ``clips`` says that the norm was; ``tell`` is told whether it was finite.
    """

    updated = skipped = settled = False

    def __init__(
        self, verdict: Verdict, clips: bool, tell: Callable[[bool], None] | None = None
    ) -> None:
        self.verdict, self._clips, self._tell = verdict, clips, tell
        self.carries: list[tuple[Clock, dict[str, float]]] = []
        self.share: Callable[[], None] | None = None  # what parameters have in common, after a step

    @property
    def grad_norm(self) -> float | None:
        """The norm of all gradients before clipping, or None where it was not measured; may
        wait."""
        return self.verdict.norm if self._clips else None

    def settle(self) -> None:
        """Count the step, or leave it out."""
        if self.settled:
            return
        finite = self.verdict.finite
        self.settled = True
        self.updated, self.skipped = finite, not finite
        if self._tell is not None:
            self._tell(finite)
        if finite:
            for clock, carry in self.carries:
                clock.step += 1
                clock.carry = carry
            if self.share is not None:
                self.share()
