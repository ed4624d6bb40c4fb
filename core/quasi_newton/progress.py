"""The progress of L-BFGS after an iteration, and why it ends."""

from __future__ import annotations

from dataclasses import dataclass

from .options import Options

GOES_ON = None
CONVERGED, LIMIT, NO_DECREASE, STOPPED = 0, 1, 2, 99  # scipy's numbers


@dataclass(frozen=True)
class Progress:
    """The point where L-BFGS is, and the way there.

    Attributes
    ----------
    loss : float
        The loss at the parameters as they are now.
    largest_derivative : float
        The largest magnitude of an element of the gradient there.
    iterations, evaluations : int
        Of this call of ``step``; one evaluation is one call of the closure.
    status : int or None
        0 if it has converged, 1 at a limit (``max_iter``, ``max_evals``), 2 where no lower loss was
        found, 99 if ``callback`` has stopped it; None if it goes on.
    message : str
        The status in words.
    """

    loss: float
    largest_derivative: float
    iterations: int
    evaluations: int
    status: int | None = GOES_ON
    message: str = ""

    @property
    def converged(self) -> bool:
        """True if one of the tolerances was reached."""
        return self.status == CONVERGED


def judged(
    loss: float, largest: float, iterations: int, evaluations: int, before: float, options: Options
) -> Progress:
    """Return the progress at a point, with a status if it ends there; ``before`` is the loss an
    iteration ago, NaN at the first point."""
    status, message = GOES_ON, ""
    change, size = abs(before - loss), max(abs(before), abs(loss), 1.0)
    if largest <= options.tolerance_grad:
        status = CONVERGED
        message = f"no element of the gradient is larger than {options.tolerance_grad:g}"
    elif change <= options.tolerance_change * size and options.tolerance_change > 0:
        status = CONVERGED
        message = f"the loss has changed by {change:.3g}, at most {options.tolerance_change:g} times {size:.3g}"
    elif iterations >= options.max_iter:
        status, message = LIMIT, f"max_iter={options.max_iter} iterations were taken"
    elif options.max_evals is not None and evaluations >= options.max_evals:
        status, message = LIMIT, f"max_evals={options.max_evals} evaluations were made"
    return Progress(loss, largest, iterations, evaluations, status, message)
