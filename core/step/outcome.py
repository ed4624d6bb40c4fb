"""The outcome of a step: taken or left out, known at once or later."""

from __future__ import annotations

from ..parameters.clock import Clock
from ..protocol import Verdict
from .loss_scaler import LossScaler


class Outcome:
    """The outcome of a step. It is known once it is `settled`: on a host at once; on a device the
    next step, or whoever wants to know, asks and maybe waits.

    ``updated``: the parameters moved, and so do step counts and carries. ``skipped``: they did
    not, because a gradient was not finite. ``measured``: the verdict that has the norm.
    """

    # of most steps, in which nothing is measured
    updated = skipped = settled = False
    decided = True
    measured: Verdict | None = None
    _of_skipping: Verdict | None = None
    _scaler: LossScaler | None = None

    def __init__(self) -> None:
        self.carries: list[tuple[Clock, dict[str, float]]] = []

    def depend_on(
        self, verdict: Verdict, clips: bool, skips: bool, scaler: LossScaler | None
    ) -> None:
        """Leave it to what was measured; ``clips`` and ``skips`` say what it decides about."""
        self.measured = verdict if clips else None
        if skips:
            self._of_skipping, self._scaler, self.decided = verdict, scaler, verdict.decided

    @property
    def grad_norm(self) -> float | None:
        """The norm of all gradients before clipping, or None where it was not measured; may wait."""
        return None if self.measured is None else self.measured.norm

    def settle(self) -> None:
        """Count the step, or leave it out."""
        if self.settled:
            return
        finite = self._of_skipping is None or self._of_skipping.finite
        self.settled = True
        self.updated, self.skipped = finite, not finite
        if self._scaler is not None:
            self._scaler.update(finite)
        if finite:
            for clock, carry in self.carries:
                clock.step += 1
                clock.carry = carry
