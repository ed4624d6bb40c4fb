"""Functions to minimize, each with its gradient and a start, as scipy and L-BFGS take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Problem(NamedTuple):
    """A function that returns its value and gradient, and where to start."""

    function: Callable[[Any], tuple[float, Any]]
    start: Any


def rosenbrock(n: int) -> Problem:
    """The chained one, of any even number of dimensions; the minimum is 0 at ones."""

    def function(x):
        slope = x[1:] - x[:-1] * x[:-1]
        rest = 1 - x[:-1]
        grad = np.zeros_like(x)
        grad[:-1] = -400 * x[:-1] * slope - 2 * rest
        grad[1:] += 200 * slope
        return float((100 * slope * slope + rest * rest).sum()), grad

    return Problem(function, np.tile([-1.2, 1.0], n // 2))


def quadratic(n: int, condition: float, seed: int = 0) -> tuple[Any, Any]:
    """A symmetric matrix of this condition and a right-hand side."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (basis * np.geomspace(1 / condition, 1, n)) @ basis.T, rng.standard_normal(n)


def least_squares(n: int = 40, condition: float = 1e4) -> Problem:
    """Half the squared residual of a linear system; the matrix's condition is the root of this."""
    rng = np.random.default_rng(1)
    left = np.linalg.qr(rng.standard_normal((2 * n, n)))[0]
    right = np.linalg.qr(rng.standard_normal((n, n)))[0]
    matrix = (left * np.geomspace(condition**-0.5, 1, n)) @ right
    target = rng.standard_normal(2 * n)

    def function(x):
        residual = matrix @ x - target
        return float(0.5 * residual @ residual), matrix.T @ residual

    return Problem(function, np.zeros(n))


def logistic(n: int = 30, samples: int = 300) -> Problem:
    """Logistic regression with a little weight decay."""
    rng = np.random.default_rng(2)
    features = rng.standard_normal((samples, n)) * np.geomspace(0.1, 3, n)
    labels = np.sign(features @ rng.standard_normal(n) + rng.standard_normal(samples))

    def function(w):
        margins = labels * (features @ w)
        loss = np.logaddexp(0, -margins).mean() + 0.5e-3 * w @ w
        weights = -labels / (1 + np.exp(margins))
        return float(loss), features.T @ weights / samples + 1e-3 * w

    return Problem(function, np.zeros(n))


PROBLEMS = {
    "Rosenbrock, 2 dimensions": rosenbrock(2),
    "Rosenbrock, 100 dimensions": rosenbrock(100),
    "least squares, condition 100": least_squares(),
    "logistic regression": logistic(),
}
