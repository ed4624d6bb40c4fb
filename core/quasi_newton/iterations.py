"""The iterations of L-BFGS: a direction, a line search along it, a pair for the history.

D. C. Liu and J. Nocedal, On the limited memory BFGS method for large scale optimization (1989).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from ..interrupts import held
from .along import Along
from .closure import Closure, check_start, loss_and_grads
from .history import Pairs, curves_up
from .line_search import LINE_SEARCHES
from .options import Options
from .parameters import ParameterVector
from .progress import LIMIT, NO_DECREASE, Progress, judged
from .vectors import Vectors

POINTS = 20  # that one line search evaluates at most


class Iterations:
    """L-BFGS from the parameters as they are; ``pairs`` and ``vectors`` stay from one such way to
    the next. ``evaluations`` counts calls of the closure."""

    def __init__(
        self,
        vectors: Vectors,
        pairs: Pairs,
        parameters: ParameterVector,
        closure: Closure,
        options: Options,
    ) -> None:
        self._vectors, self._pairs, self._parameters = vectors, pairs, parameters
        self._closure, self._options = closure, options
        self.evaluations = 0

    def __iter__(self) -> Iterator[Progress]:
        """Yield the progress at the first point and after each iteration; the last one has a
        status.

        What the closure raises, and errors about what it returns, leave the parameters at the
        lowest point that was seen.
        """
        iterations, before, loss = 0, math.nan, self._first_loss()
        while True:
            largest = self._vectors.largest_derivative()
            now = judged(loss, largest, iterations, self.evaluations, before, self._options)
            yield now
            if now.status is not None:
                return
            found = self._improve(loss)
            while found is None and self._pairs.order and self._left > 0:
                self._pairs.clear()  # they do not lead on: along the gradient, as at the first point
                found = self._improve(loss)
            if found is None:
                yield self._ended(now)
                return
            before, loss, iterations = loss, found, iterations + 1

    @property
    def _left(self) -> int:
        """The number of evaluations that one line search may make now."""
        most = self._options.max_evals
        return POINTS if most is None else min(POINTS, most - self.evaluations)

    def _ended(self, last: Progress) -> Progress:
        """Return the last progress once more, with why there is no next one."""
        tried = self.evaluations - last.evaluations
        status, message = NO_DECREASE, f"the line search found no lower loss in {tried} evaluations"
        if self._left <= 0:
            status, message = LIMIT, f"max_evals={self._options.max_evals} evaluations were made"
        message += "; the parameters are at the lowest point"
        return replace(last, evaluations=self.evaluations, status=status, message=message)

    def _first_loss(self) -> float:
        """Evaluate the function at the parameters as they are."""
        vectors = self._vectors
        with held() as holding:
            self._parameters.read(vectors.x)
            self.evaluations += 1
            loss, grads = loss_and_grads(holding.outside(self._closure))
            self._parameters.read_gradients(grads, vectors.grad)
            check_start(loss, vectors.largest_derivative())
            self._measure()
        return loss

    def _improve(self, loss: float) -> float | None:
        """Take an iteration; return the new loss, None if no way on was found: all but the
        history is then as it was."""
        options = self._options
        with held():
            slope, t = self._aim()
            along = Along(self._vectors, self._parameters, self._closure, loss, slope)
        if not -math.inf < slope < 0:
            return None
        search = LINE_SEARCHES[options.line_search]
        try:
            found = search(along, along.start, t * options.lr, self._left)
        except BaseException:
            along.go_back()
            raise
        finally:
            self.evaluations += along.evaluations
        if found is None:
            along.go_back()
            if along.best is along.start:
                return None
            found = along.best
        with held():
            self._remember(slope, found.slope)
        return found.loss

    def _aim(self) -> tuple[float, float]:
        """Form the direction; return its slope and how far the line search tries to go first: all
        the way, but without a history no farther than 1."""
        pairs = self._pairs
        if pairs.order:
            return self._vectors.combine(*pairs.coefficients(*self._products)), 1.0
        nothing = [0.0] * pairs.size
        slope = self._vectors.combine(-1.0, nothing, nothing)
        return slope, min(1.0, 1.0 / math.sqrt(-slope)) if slope < 0 else 1.0

    def _remember(self, slope_at_start: float, slope: float) -> None:
        """Keep the pair of the last iteration if its curvature is positive."""
        if curves_up(slope_at_start, slope):
            self._vectors.keep_changes(self._pairs.take_slot())
            self._pairs.learn(*self._vectors.dots("grad_start", self._pairs.order))
        self._measure()

    def _measure(self) -> None:
        """Take the products of all pairs with the gradient."""
        if self._pairs.order:
            self._products = self._vectors.dots("grad", self._pairs.order)
