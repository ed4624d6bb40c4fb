"""Estimates of the Hessian that an optimizer takes besides gradients."""

from __future__ import annotations

from typing import Any

from ..interrupts import held
from ..language.keywords import known_keywords
from ..step.run import Run


class TakesEstimates:
    """The part of an optimizer that takes estimates of the Hessian's diagonal."""

    __slots__ = ()
    _run: Run

    @known_keywords()
    def update_hessian(self, estimates: Any) -> None:
        """Take in estimates of the Hessian's diagonal, for rules that go by one: `samestep.Sophia`.

        Parameters, momentum and step counts stay as they are. Hyperparameters are those of the next
        step. ``maximize``, clipping, the loss scaler and accumulation are about gradients: an
        estimate is taken as it is, infinite or NaN, too.

        Parameters
        ----------
        estimates : same structure as the parameters
            Arrays as `step` takes for gradients, of all elements; None for a parameter whose
            average stays as it is, or whose rule takes none.

        Raises
        ------
        TypeError, ValueError
            For estimates that cannot be used, or a rule that takes none; nothing is changed then.
        RuntimeError
            As `step` does; and where a stream is capturing, which records no estimates.
        """
        run = self._run
        with run.alone:
            run.begin()
            leaves = run.groups.gradient_leaves(estimates, "estimates")
            casts = run.settings_now().cast_gradients
            with held():
                run.stepping.update_hessian(leaves, run.groups.takes_part, casts)
