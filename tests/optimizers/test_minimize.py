"""``samestep.minimize`` beside ``scipy.optimize.minimize``."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
import torch
from scipy import optimize

START = np.array([-1.0, 2.0])


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def gradient(x):
    slope = x[1] - x[0] ** 2
    return np.array([-2 * (1 - x[0]) - 400 * x[0] * slope, 200 * slope])


def both(x):
    return rosenbrock(x), gradient(x)


def test_it_finds_what_scipy_finds_and_says_it_in_the_same_words(backend):
    start = START.copy()
    theirs = optimize.minimize(rosenbrock, START, jac=gradient)
    ours = ss.minimize(rosenbrock, start, jac=gradient, lr=0.05, maxiter=10_000, backend=backend)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-4)
    assert {*ours} == {*theirs} - {"hess_inv"}
    assert {name: type(ours[name]) for name in ours} == {name: type(theirs[name]) for name in ours} | {
        "fun": float, "success": bool, "status": int,
    }  # fmt: skip
    assert (ours.success, ours.status) == (theirs.success, theirs.status) == (True, 0)
    assert abs(ours.jac).max() <= 1e-5
    assert ours.fun == rosenbrock(ours.x)
    assert ours.jac.tolist() == gradient(ours.x).tolist()
    assert ours.nfev == ours.njev == ours.nit + 1 < 10_000
    assert start.tolist() == START.tolist()


def test_the_steps_are_those_of_a_loop(backend):
    x = START.copy()
    opt = ss.Optimizer("adamw", x, lr=ss.schedules.cosine(0.1, T_max=50), clip_global_norm=1.0)
    for _ in range(50):
        opt.step(gradient(x))
    found = ss.minimize(
        both, START, jac=True, rule="adamw", lr=ss.schedules.cosine(0.1, T_max=50),
        clip_global_norm=1.0, maxiter=50, backend=backend,
    )  # fmt: skip
    assert found.x.tobytes() == x.tobytes()
    assert (found.success, found.status, found.nit, found.nfev) == (False, 1, 50, 51)
    assert "maxiter" in found.message


@pytest.mark.parametrize("minimize", [ss.minimize, optimize.minimize], ids=["ours", "scipy's"])
def test_what_users_do_with_scipy_s(minimize):
    """Positional arguments, a callback of either kind, StopIteration, entries by name."""
    seen: list = []
    options = dict(rule="sgd", lr=0.1) if minimize is ss.minimize else {}

    def watch(intermediate_result):
        assert intermediate_result.fun == ((intermediate_result.x - 2) ** 2).sum()
        if len(seen) == 2:
            raise StopIteration

    def square(x, target):
        return ((x - target) ** 2).sum(), 2 * (x - target)

    done = minimize(square, [0, 0], (2,), jac=True, callback=lambda x: seen.append(x), **options)
    assert done.success
    assert done["x"] == pytest.approx(2, abs=1e-5)
    assert len(seen) == done.nit
    assert not done.nit > 1 or (seen[0] != seen[1]).any()  # each is an array of its own
    del seen[2:]
    seen += [0] * (2 - len(seen))
    assert minimize(square, [0, 0], (2,), jac=True, callback=watch, **options).nit == 1
    assert "success" in repr(done)
    with pytest.raises(AttributeError):
        done.nothing  # noqa: B018


def test_callback_that_stops_is_said():
    def stop(x):
        raise StopIteration

    found = ss.minimize(both, START, jac=True, callback=stop)
    assert (found.success, found.status, found.nit) == (False, 99, 1)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_value_that_is_not_finite_ends_it():
    found = ss.minimize(lambda x: (np.log(x[0]), 1 / x), [0.05], jac=True, rule="sgd", lr=0.1)
    assert (found.success, found.status, found.nit) == (False, 3, 1)
    assert "nan" in found.message


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_shape_and_dtype_are_those_of_x0(dtype):
    target = np.arange(6).reshape(2, 3).astype(dtype)
    found = ss.minimize(
        lambda x: float((abs(x - target) ** 2).sum()), np.zeros((2, 3), dtype),
        jac=lambda x: (2 * (x - target)).tolist(), rule="sgd", lr=0.1,
    )  # fmt: skip
    assert (found.x.dtype, found.x.shape) == (target.dtype, target.shape)
    assert found.success
    np.testing.assert_allclose(found.x, target, atol=1e-5)


def test_where_the_gradient_is_zero_no_step_is_taken():
    found = ss.minimize(both, [1.0, 1.0], jac=True)
    assert (found.nit, found.nfev, found.success) == (0, 1, True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(jac=None), TypeError, "jac=None: expected a function"),
        (dict(jac=gradient, maxiter=-1), ValueError, "maxiter=-1"),
        (dict(jac=gradient, maxiter=1e3), ValueError, "maxiter=1000.0"),
        (dict(jac=gradient, rule="adm"), ValueError, "no rule 'adm'"),
        (dict(jac=gradient, l=0.1), TypeError, "l"),
        (dict(jac=lambda x: 1j * x), TypeError, "complex128"),
        (dict(jac=lambda x: x[:1]), ValueError, "shape"),
        (
            dict(method="lbfgs", jac=True, max_iter=3),
            TypeError,
            "no argument 'max_iter'; did you mean 'maxiter'?",
        ),
        (dict(method="lbfgs", jac=True, tolerance_grad=1), TypeError, "is called gtol here"),
        (dict(method="L-BFGS-B", jac=True), ValueError, "did you mean 'lbfgs'. expected 'lbfgs'"),
        (dict(method="adam", jac=True), ValueError, "did you mean rule='adam'. expected 'lbfgs'"),
        (
            dict(method="Nelder-Mead", jac=True),
            ValueError,
            "method='Nelder-Mead': expected 'lbfgs'",
        ),
        (dict(tol=1e-3, jac=True), TypeError, "no argument 'tol'; did you mean 'gtol'"),
        (dict(options={}, jac=True), TypeError, "'options'; its entries are arguments here"),
        (dict(bounds=[(0, 1)], jac=True), TypeError, "'bounds'; steps know no bounds"),
        (dict(method="lbfgs", jac=True, rule="lion"), TypeError, "rule has no effect with method="),
        (
            dict(jac=gradient, average=3),
            TypeError,
            "average=3 keeps an average, and minimize returns",
        ),
        (dict(jac=gradient, rule="sgd_schedulefree"), TypeError, "^rule='sgd_schedulefree' keeps"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        ss.minimize(rosenbrock, START, **arguments)


def test_tensors_stay_tensors():
    start = torch.tensor([3.0, -2.0])
    found = ss.minimize(lambda x: ((x * x).sum(), 2 * x), start, jac=True, rule="sgd", lr=0.1)
    assert isinstance(found.x, torch.Tensor)
    assert found.success
    assert abs(found.x).max() < 1e-5
    assert start.tolist() == [3, -2]


@pytest.mark.parametrize("arguments", [{}, {"method": "lbfgs", "history": np.int64(3)}])
def test_numbers_are_numpy_s_and_one_more_argument_is_in_no_tuple_as_with_scipy(arguments):
    def fun(x, target):
        return float(((x - target) ** 2).sum()), 2 * (x - target)

    found = [
        ss.minimize(fun, np.zeros(2), args, jac=jac, maxiter=maxiter, **arguments)
        for args, jac, maxiter in (((3.0,), True, 5), (3.0, np.True_, np.int64(5)))
    ]
    assert found[0].x.tolist() == found[1].x.tolist()
    assert found[0].nit == found[1].nit
