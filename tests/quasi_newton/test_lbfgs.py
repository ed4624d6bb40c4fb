"""L-BFGS: where it arrives, in how many evaluations, and with which bits on each backend."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import samestep as ss
import torch
from conftest import UNDER_TEST
from helpers import off, on
from problems import PROBLEMS, quadratic, rosenbrock
from samestep.golden.compare import first_difference
from samestep.quasi_newton import line_search
from samestep.quasi_newton.vectors import Vectors
from scipy import optimize


def closure_of(function, params, backend):
    """The function of the first of these parameters, wherever it lies, in host arithmetic."""

    def closure():
        value, grad = function(off(backend, params))
        return value, on(backend, grad)

    return closure


def minimized(function, start, backend, **options):
    """Where L-BFGS arrives, on the host, and what it says."""
    x = on(backend, np.array(start))
    opt = ss.LBFGS(x, backend=backend, **options)
    progress = opt.step(closure_of(function, x, backend))
    return off(backend, x), progress


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_takes_about_as_many_evaluations_as_scipy(name):
    problem = PROBLEMS[name]
    theirs = optimize.minimize(
        problem.function, problem.start, jac=True, method="L-BFGS-B",
        options={"gtol": 1e-6, "ftol": 0, "maxcor": 10},
    )  # fmt: skip
    ours = ss.minimize(
        problem.function, problem.start, jac=True, method="lbfgs", gtol=1e-6, tolerance_change=0,
    )  # fmt: skip
    assert theirs.success
    assert ours.success
    assert ours.nfev <= 1.3 * theirs.nfev
    assert abs(ours.jac).max() <= 1e-6
    assert ours.fun == pytest.approx(theirs.fun, rel=1e-9, abs=1e-11)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-2)  # 1e-6 by the smallest curvature


def bowl(x):
    """A function of any many numbers whose arithmetic is the same everywhere."""
    scale = 1 + np.arange(x.size) % 7
    slope = x - 1
    return float(np.add.reduce((scale * slope**4 + slope * slope)[:1000])), (
        4 * scale * slope**3 + 2 * slope
    )


def minimum_waits(monkeypatch):
    """Have the largest derivative, which PyTorch finds, wait for the double's kernels: on a device
    both are on one stream."""
    from doubled_tensors import finish

    found = Vectors.largest_derivative
    monkeypatch.setattr(Vectors, "largest_derivative", lambda self: (finish(), found(self))[1])


@pytest.mark.parametrize("n", [6, 7])
@pytest.mark.parametrize("search", ["strong_wolfe", "backtracking", None])
def test_every_backend_goes_the_same_way(search, n, any_other_backend, monkeypatch):
    if any_other_backend == "doubled":
        minimum_waits(monkeypatch)
    options = dict(line_search=search, max_iter=25, history=3, lr=0.5)
    reference, told = minimized(rosenbrock(6).function, np.linspace(-1, 1, n), "numpy", **options)
    x, progress = minimized(
        rosenbrock(6).function, np.linspace(-1, 1, n), any_other_backend, **options
    )
    assert progress == told
    assert first_difference(x, reference) is None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("compiled", [name for name in ("numba", "torch") if name in UNDER_TEST])
def test_so_does_any_number_of_threads(compiled, threads, monkeypatch):
    start = np.random.default_rng(0).standard_normal(200_000)
    options = dict(max_iter=4, history=2, tolerance_grad=0, tolerance_change=0)
    reference, told = minimized(bowl, start, "numpy", **options)
    monkeypatch.setenv("SAMESTEP_THREADS", str(threads))
    x, progress = minimized(bowl, start, compiled, **options)
    assert progress == told
    assert first_difference(x, reference) is None


def test_control_another_order_of_sums_goes_another_way(monkeypatch):
    from samestep.backends.numpy import passes

    start = np.random.default_rng(0).standard_normal(200_000)
    options = dict(max_iter=4, history=2, tolerance_grad=0, tolerance_change=0)
    reference, _ = minimized(bowl, start, "numpy", **options)
    monkeypatch.setattr(passes, "total", np.sum)
    x, _ = minimized(bowl, start, "numpy", **options)
    assert first_difference(x, reference) is not None


def test_splitting_the_parameters_changes_nothing(backend):
    """One vector takes the way of the same numbers in a tree of arrays."""
    start = np.linspace(-1, 1, 6)
    whole, told = minimized(rosenbrock(6).function, start, backend)
    tree = {
        "a": start[:1].reshape(()).copy(),
        "b": [start[1:5].reshape(2, 2).copy(), start[5:].copy()],
    }
    tree = on(backend, tree)

    def flat():
        parts = off(backend, tree)
        return np.concatenate([parts["a"].ravel(), parts["b"][0].ravel(), parts["b"][1]])

    def closure():
        value, grad = rosenbrock(6).function(flat())
        grads = {"a": grad[0].reshape(()), "b": [grad[1:5].reshape(2, 2), grad[5:]]}
        return value, on(backend, grads)

    assert ss.LBFGS(tree, backend=backend).step(closure) == told
    assert first_difference(flat(), whole) is None


def test_complex_parameters_are_pairs_of_reals(backend):
    target = np.array([1 + 2j, -3j, 0.5])
    x, progress = minimized(
        lambda z: (float((abs(z - target) ** 2).sum()), 2 * (z - target)),
        np.zeros(3, complex),
        backend,
    )
    assert progress.converged
    np.testing.assert_allclose(x, target, atol=1e-7)


def test_float32_is_computed_in_float64_and_rounded_once(backend):
    matrix, target = quadratic(5, 10.0)
    values = []

    def function(x):
        assert x.dtype == np.float32
        x = x.astype(np.float64)
        values.append(float(0.5 * x @ matrix @ x - target @ x))
        return values[-1], matrix @ x - target  # a gradient of float64 is taken as well

    x, progress = minimized(function, np.zeros(5, np.float32), backend, tolerance_grad=1e-5)
    assert progress.loss == min(values)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, target), rtol=1e-4)


@pytest.mark.parametrize("search", ["strong_wolfe", "backtracking"])
def test_the_loss_never_rises(search):
    for name, problem in PROBLEMS.items():
        losses = []
        x = problem.start.copy()
        opt = ss.LBFGS(x, line_search=search, max_iter=60, tolerance_change=0)
        opt.step(lambda: problem.function(x), lambda progress: losses.append(progress.loss))  # noqa: B023
        assert len(losses) == 60 or opt.step(lambda: problem.function(x)).converged, name  # noqa: B023
        assert all(b <= a + 1e-14 * abs(a) for a, b in pairwise(losses)), name


def exact(phi, start, t, limit):
    """The line search that a quadratic has: two slopes tell where the minimum is."""
    there = phi(t)
    return phi(t * start.slope / (start.slope - there.slope))


@pytest.mark.parametrize("n", [2, 5, 8])
def test_a_quadratic_of_as_many_dimensions_as_pairs_takes_as_many_iterations(n, monkeypatch):
    """With exact line searches BFGS ends after n steps; one more for rounding."""
    monkeypatch.setitem(line_search.LINE_SEARCHES, "exact", exact)
    matrix, target = quadratic(n, 100.0, seed=n)
    options = dict(line_search="exact", history=n, tolerance_grad=1e-10, tolerance_change=0)
    x, progress = minimized(
        lambda x: (float(0.5 * x @ matrix @ x - target @ x), matrix @ x - target), np.zeros(n), "numpy",
        **options,
    )  # fmt: skip
    assert progress.converged
    assert progress.iterations <= n + 1
    np.testing.assert_allclose(x, np.linalg.solve(matrix, target), atol=1e-8)


@pytest.mark.parametrize("search", ["strong_wolfe", "backtracking", None])
def test_it_solves_a_linear_system(search):
    """A loss that is not 0 at its minimum does not keep the gradient from 1e-10."""
    matrix, target = quadratic(10, 100.0)
    x, progress = minimized(
        lambda x: (float(0.5 * x @ matrix @ x - target @ x), matrix @ x - target), np.zeros(10), "auto",
        line_search=search, max_iter=200, tolerance_grad=1e-10, tolerance_change=0,
    )  # fmt: skip
    assert progress.converged
    np.testing.assert_allclose(x, np.linalg.solve(matrix, target), atol=1e-8)


def test_gradients_of_autograd_serve(backend):
    if not backend.startswith("torch"):
        pytest.skip("tensors with gradients")
    model = torch.nn.Linear(3, 1, dtype=torch.float64)
    torch.manual_seed(0)
    inputs, targets = (
        torch.randn(20, 3, dtype=torch.float64),
        torch.randn(20, 1, dtype=torch.float64),
    )
    params = list(model.parameters())

    def closure():
        model.zero_grad()
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        return loss, [p.grad for p in params]

    assert (
        ss.LBFGS(params, backend=backend, tolerance_grad=1e-9, tolerance_change=0)
        .step(closure)
        .converged
    )
    ones = torch.cat([inputs, torch.ones(20, 1, dtype=torch.float64)], 1)
    best = torch.linalg.lstsq(ones, targets).solution.ravel()
    torch.testing.assert_close(
        torch.cat([p.detach().ravel() for p in params]), best, atol=1e-8, rtol=0
    )
