"""What L-BFGS refuses, and where the parameters are afterwards."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import samestep as ss
from problems import rosenbrock

FUNCTION, START = rosenbrock(4)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (1.0, TypeError, r"closure returned a float; expected \(loss, grads\)"),
        ((1.0,), TypeError, r"closure returned a tuple of 1; expected \(loss, grads\)"),
        (("1", np.zeros(4)), TypeError, "the loss is a str; expected one real number"),
        ((1j, np.zeros(4)), TypeError, "the loss is a complex; expected one real number"),
        ((np.zeros(2), np.zeros(4)), TypeError, r"the loss is a ndarray of shape \(2,\)"),
        ((None, np.zeros(4)), TypeError, "the loss is a NoneType"),
        ((np.nan, np.zeros(4)), ValueError, "the loss is nan .* start from other parameters"),
        ((1.0, np.full(4, np.inf)), ValueError, "the largest derivative inf"),
        ((1.0, np.array([0, 0, 0, np.nan])), ValueError, "the largest derivative nan"),
        ((1.0, np.zeros(3)), ValueError, r"the gradient of params has shape \(3,\)"),
        ((1.0, [np.zeros(4)]), TypeError, "grads is a list of arrays"),
        ((1.0, {"x": np.zeros(4)}), TypeError, "the gradient of params is a dict"),
        ((1.0, np.zeros(4, int)), TypeError, "the gradient of params has dtype int64"),
        ((1.0, ss.IndexedSlices(np.zeros(1), np.zeros(1, int))), TypeError, "of some rows only"),
    ],
)
@pytest.mark.parametrize("evaluation", [1, 2, 4])
def test_what_a_closure_may_not_return(returned, error, message, evaluation, backend):
    """At any evaluation: the parameters are then where the loss was lowest so far."""
    x = START.copy()
    seen = []
    count = itertools.count(1)

    def closure():
        if next(count) == evaluation:
            return returned
        value, grad = FUNCTION(x)
        seen.append((value, x.copy()))
        return value, grad

    opt = ss.LBFGS(x, backend=backend)
    if error is ValueError and "shape" not in message and evaluation > 1:
        assert opt.step(closure).loss < FUNCTION(START)[0]  # a step that was too long
        return
    with pytest.raises(error, match=message):
        opt.step(closure)
    best = min(seen, key=lambda pair: pair[0])[1] if seen else START
    assert x.tolist() == best.tolist()
    opt.step(lambda: FUNCTION(x))
    assert FUNCTION(x)[0] < FUNCTION(START)[0]


def test_what_the_closure_raises_itself(backend):
    x = START.copy()
    losses = []

    def closure():
        value, grad = FUNCTION(x)
        losses.append(value)
        if len(losses) == 6:
            raise KeyboardInterrupt
        return value, grad

    opt = ss.LBFGS(x, backend=backend)
    with pytest.raises(KeyboardInterrupt):
        opt.step(closure)
    assert FUNCTION(x)[0] == min(losses[:-1])
    assert opt.evaluations == 6


def test_a_line_search_that_fails_leaves_the_best_point_and_says_so(backend):
    x = np.ones(3)
    wrong = ss.LBFGS(x, backend=backend).step(lambda: (float(x @ x), -2 * x))
    assert (wrong.status, wrong.converged, wrong.iterations) == (2, False, 0)
    assert "found no lower loss in 20 evaluations" in wrong.message
    assert x.tolist() == [1, 1, 1]
    cut = ss.LBFGS(x, backend=backend, max_evals=5).step(lambda: (float(x @ x), -2 * x))
    assert (cut.status, cut.evaluations, x.tolist()) == (1, 5, [1, 1, 1])
    assert "max_evals=5" in cut.message


@pytest.mark.parametrize("search", ["strong_wolfe", "backtracking", None])
def test_a_loss_that_is_not_finite_is_a_step_too_long(search, backend):
    x = np.array([0.5])

    def closure():  # -log(1 - x) - 5 x, for x < 1 only
        with np.errstate(all="ignore"):
            return -np.log(1 - x).sum() - 5 * x.sum(), 1 / (1 - x) - 5

    progress = ss.LBFGS(x, backend=backend, line_search=search, lr=1.0 if search else 9.0).step(
        closure
    )
    if search is None:
        assert (progress.status, x.tolist()) == (2, [0.5])
    else:
        assert progress.converged
        np.testing.assert_allclose(x, 0.8, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(history=0), ValueError, "history must be at least 1, not 0"),
        (dict(history=2.0), TypeError, "history must be an integer, not 2.0"),
        (dict(line_search="strong-wolfe"), ValueError, "did you mean 'strong_wolfe'"),
        (dict(line_search=3), ValueError, "line_search=3: no such line search"),
        (dict(lr=0), ValueError, r"lr must be in \(0, inf\), not 0"),
        (dict(max_iter=-1), ValueError, "max_iter must be at least 0, not -1"),
        (dict(max_evals=True), TypeError, "max_evals must be an integer, not True"),
        (dict(tolerance_grad=-1), ValueError, "tolerance_grad must be in"),
        (dict(tolerance_change=np.nan), ValueError, "tolerance_change must be finite"),
        (dict(histroy=1), TypeError, "did you mean 'history'"),
    ],
)
def test_options(options, error, message):
    with pytest.raises(error, match=message):
        ss.LBFGS(START.copy(), **options)
    opt = ss.LBFGS(START.copy())
    (name,) = options
    before = repr(vars(opt._run.options))
    if name not in ("history", "histroy"):
        with pytest.raises(error, match=message):
            setattr(opt, name, options[name])
    else:
        with pytest.raises(AttributeError):
            setattr(opt, name, options[name])
    assert repr(vars(opt._run.options)) == before


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (np.zeros(3, np.float16), TypeError, "params has dtype float16; L-BFGS takes float32"),
        ([], ValueError, "params is empty"),
        (np.zeros(0), ValueError, "params has no elements"),
        ([{"params": np.zeros(2)}], TypeError, "no|pass the arrays themselves"),
        (3.0, TypeError, "params is a float"),
    ],
)
def test_parameters(params, error, message):
    with pytest.raises(error, match=message):
        ss.LBFGS(params, backend="numpy")


def test_limits_and_callbacks_end_a_step(backend):
    x = START.copy()
    opt = ss.LBFGS(x, backend=backend, max_iter=3)
    seen = []
    found = opt.step(lambda: FUNCTION(x), seen.append)
    assert (found.status, found.iterations, len(seen)) == (1, 3, 3)
    assert "max_iter=3" in found.message
    opt.max_iter, opt.max_evals = 100, 5
    found = opt.step(lambda: FUNCTION(x))
    assert (found.status, found.evaluations) == (1, 5)
    assert "max_evals=5" in found.message
    assert found.loss == FUNCTION(x)[0]

    def stop(progress):
        raise StopIteration

    opt.max_evals = None
    found = opt.step(lambda: FUNCTION(x), stop)
    assert (found.status, found.iterations) == (99, 1)
    assert found.loss == FUNCTION(x)[0]


def test_another_array_in_the_place_of_a_parameter_is_updated(backend):
    params = {"x": START.copy()}
    opt = ss.LBFGS(params, backend=backend)
    params["x"] = START.copy()
    opt.step(lambda: (FUNCTION(params["x"])[0], {"x": FUNCTION(params["x"])[1]}))
    assert FUNCTION(params["x"])[0] < FUNCTION(START)[0]
    params["x"] = np.zeros(5)
    with pytest.raises(ValueError, match="params has 5 numbers now; it had 4"):
        opt.step(lambda: (0.0, {"x": np.zeros(5)}))


def test_a_closure_that_replaces_arrays_is_told(backend):
    """They would stand still while those that are moved are nowhere to be seen."""
    params = {"x": START.copy()}
    old, count = params["x"], itertools.count(1)

    def closure():
        if next(count) == 3:
            params["x"] = params["x"].copy()
        return FUNCTION(params["x"])[0], {"x": FUNCTION(params["x"])[1]}

    opt = ss.LBFGS(params, backend=backend)
    with pytest.raises(
        RuntimeError, match="closure has put other arrays in the places of parameters"
    ):
        opt.step(closure)
    assert FUNCTION(old)[0] < FUNCTION(START)[0]
    assert opt.step(closure).loss < FUNCTION(START)[0]  # between steps they may be others


def test_numpy_s_numbers_are_options():
    opt = ss.LBFGS(START.copy(), history=np.int64(3), max_iter=np.int32(2), max_evals=np.array(9))
    opt.max_iter = np.int64(4)
    assert [opt.history, opt.max_iter, opt.max_evals] == [3, 4, 9]
    assert {type(opt.history), type(opt.max_iter), type(opt.max_evals)} == {int}
