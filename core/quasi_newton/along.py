"""The loss along a direction: evaluations of the user's function for a line search."""

from __future__ import annotations

import math

from ..interrupts import held
from .closure import Closure, loss_and_grads
from .line_search import Point
from .parameters import ParameterVector
from .vectors import Vectors


class Along:
    """Evaluates a function at points along the direction of ``vectors``.

    ``best`` is the lowest point that was seen, ``evaluations`` counts calls of the function.
    """

    def __init__(
        self,
        vectors: Vectors,
        parameters: ParameterVector,
        closure: Closure,
        loss: float,
        slope: float,
    ) -> None:
        self._vectors, self._parameters, self._closure = vectors, parameters, closure
        self.start = self.best = Point(0.0, loss, slope)
        self._here: Point | None = self.start
        self.evaluations = 0
        vectors.copy(vectors.x_start, vectors.x)
        vectors.copy(vectors.grad_start, vectors.grad)

    def __call__(self, t: float) -> Point:
        """Move the parameters to a point and evaluate there."""
        vectors = self._vectors
        with held() as holding:
            if self._here is self.best and self.best is not self.start:
                vectors.copy(vectors.grad_best, vectors.grad)
            self._here = None  # until all is known about it
            vectors.move(t)
            self._parameters.write(vectors.x)
            self.evaluations += 1
            loss, grads = loss_and_grads(holding.outside(self._closure))
            self._parameters.read_gradients(grads, vectors.grad)
            slope = vectors.slope()
        if not math.isfinite(slope):
            loss = math.inf  # no way on from there
        here = self._here = Point(t, loss, slope)
        if loss < self.best.loss:
            self.best = here
        return here

    def go_back(self) -> None:
        """Set the parameters, and ``vectors``, to the lowest point that was seen."""
        vectors, best = self._vectors, self.best
        if best is self._here:
            return
        with held():
            if best is self.start:
                vectors.copy(vectors.x, vectors.x_start)
                vectors.copy(vectors.grad, vectors.grad_start)
            else:
                vectors.move(best.t)
                vectors.copy(vectors.grad, vectors.grad_best)
            self._parameters.write(vectors.x)
            self._here = best
