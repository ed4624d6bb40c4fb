"""``minimize``, in the manner of ``scipy.optimize.minimize``: for those who have no loop."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..language.intervals import plain
from ..language.rule import Rule
from ..pages import see
from ..quasi_newton.closure import as_number
from ..quasi_newton.lbfgs import LBFGS
from ..quasi_newton.progress import CONVERGED, LIMIT, STOPPED, Progress
from ..rules import find_rule, registry
from .optimizer import Optimizer

NOT_FINITE = 3  # scipy's number
NO_BOUNDS = (
    "steps know no bounds: write x in terms of numbers without any, such as exp or tanh of them"
)
OF_SCIPY = {
    "tol": "did you mean 'gtol'?",
    "max_iter": "did you mean 'maxiter'?",
    "options": "its entries are arguments here: maxiter=100, gtol=1e-6",
    "bounds": NO_BOUNDS,
    "constraints": NO_BOUNDS,
}


class OptimizeResult(dict[str, Any]):
    """The result of `minimize`: a dict whose entries are attributes, too, as scipy's is.

    Attributes
    ----------
    x, fun, jac : array, float, array
        Where it stopped, the function's value and its gradient there.
    success, status, message : bool, int, str
        True and 0 if the gradient is as small as was asked for (or, by L-BFGS, the value changes no
        more); else 1 after ``maxiter`` steps, 2 where L-BFGS finds no lower value, 3 for a value or
        gradient that is not finite, 99 if ``callback`` has stopped it.
    nit, nfev, njev : int
        Steps, and evaluations of the function and of its gradient.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:>{width}}: {value}" for name, value in self.items())


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    *,
    jac: Callable[..., Any] | bool,
    rule: Rule | str = "adam",
    method: str | None = None,
    callback: Callable[..., Any] | None = None,
    maxiter: int = 1000,
    gtol: float = 1e-5,
    backend: str | None = None,
    **hyper: Any,
) -> OptimizeResult:
    """Minimize a function from its gradient, by the steps of a rule or by L-BFGS.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` returns a number; with ``jac=True`` a number and the gradient.
    x0 : array or list of numbers
        Where to begin; it is left as it is. ``x`` has its shape and dtype (float64 for integers).
    args : tuple
        More arguments of ``fun`` and ``jac``; a single one may come without a tuple.
    jac : callable or True
        ``jac(x, *args)`` returns the gradient, of the shape of ``x``.
    rule : Rule or str
        The rule whose steps are taken, see `samestep.rules`.
    method : "lbfgs", optional
        L-BFGS instead of a rule, see `samestep.LBFGS`.
    callback : callable, optional
        Called after each step, with ``x`` or, if its only parameter has this name, with
        ``intermediate_result``, an `OptimizeResult`. It stops by raising StopIteration.
    maxiter : int
        The number of steps at most.
    gtol : float
        Stop where no element of the gradient is larger in magnitude.
    backend : str, optional
        As for `Optimizer`.
    **hyper
        Hyperparameters of the rule and settings of `Optimizer`: ``lr``, ``clip_global_norm``, ...
        For L-BFGS the options of `LBFGS`: ``history``, ``line_search``, ``tolerance_change``, ...

    Raises
    ------
    TypeError, ValueError
        For arguments that cannot be used, before the first step, such as ``average``, which a loop
        of your own can read; with L-BFGS also where the function or its gradient is not finite at
        ``x0``.

    Notes
    -----
    A rule takes many small steps, and looks neither for a step length nor at curvature; ``x`` is
    the last one, not the best one seen. Where the function is smooth and the gradient exact, L-BFGS
    needs far fewer evaluations.
    """
    jac, maxiter = plain(jac), plain(maxiter)
    args = args if isinstance(args, tuple) else (args,)
    if not callable(jac) and jac is not True:
        raise TypeError(
            f"jac={jac!r}: expected a function that returns the gradient, or True if fun returns "
            f"its value and its gradient; derivatives are not estimated"
        )
    if isinstance(maxiter, bool) or not isinstance(maxiter, int) or maxiter < 0:
        raise ValueError(
            f"maxiter={maxiter!r}: expected a number of steps, an integer of at least 0"
        )
    x = _start(x0)
    report = _reporter(callback)

    def evaluated() -> OptimizeResult:
        here = copy.deepcopy(x)  # a function may keep its argument
        value, grad = fun(here, *args) if jac is True else (fun(here, *args), jac(here, *args))
        return OptimizeResult(x=here, fun=as_number(value), jac=_like(x, grad))

    own = () if method else find_rule(rule).known_hyperparameters
    for name in hyper:
        if name in OF_SCIPY and name not in own:
            raise TypeError(f"minimize has no argument {name!r}; {OF_SCIPY[name]}")
    if method is None:
        optimizer = Optimizer(rule, x, backend=backend, **hyper)
        _check_ends_where_it_is(optimizer)
        return _by_rule(optimizer, evaluated, report, maxiter, gtol)
    if method != "lbfgs":
        meant = "'lbfgs'" if "bfgs" in str(method).lower() else f"rule={method!r}"
        hint = f"did you mean {meant}? " if method in registry or "bfgs" in meant else ""
        raise ValueError(
            f"method={method!r}: {hint}expected 'lbfgs', or None for the steps of a rule"
        )
    if rule != "adam":
        raise TypeError(f"rule has no effect with method={method!r}: leave one of the two out")
    if "tolerance_grad" in hyper:
        raise TypeError("tolerance_grad of LBFGS is called gtol here, as in scipy")
    search = LBFGS(x, backend=backend, max_iter=maxiter, tolerance_grad=gtol, **hyper)
    return _by_lbfgs(search, evaluated, report)


def _check_ends_where_it_is(optimizer: Optimizer) -> None:
    """Raise TypeError for an average, which is not where the last step ends: ``x`` would not be
    it."""
    (group,) = optimizer.param_groups
    asked = f"average={group['average']!r}" if group["average"] is not None else ""
    if optimizer.rule.average_share is not None:
        asked = f"rule={optimizer.rule.name!r}"
    if asked:
        raise TypeError(
            f"{asked} keeps an average, and minimize returns the last point: leave it out, or write a "
            f"loop{see('howto/loop.md')}"
        )


def _by_rule(
    optimizer: Optimizer,
    evaluated: Callable[[], OptimizeResult],
    report: Callable[[OptimizeResult], bool],
    maxiter: int,
    gtol: float,
) -> OptimizeResult:
    """Take steps of a rule until something ends it."""
    for step in range(maxiter + 1):
        found = evaluated()
        found.update(nit=step, nfev=step + 1, njev=step + 1)
        largest = float(abs(found.jac).max()) if math.prod(found.x.shape) else 0.0
        status, message = _judged(found.fun, largest, gtol, last=step == maxiter)
        if step and report(found):
            status, message = STOPPED, "callback raised StopIteration"
        if status is not None:
            break
        optimizer.step(found.jac)
    found.update(success=status == CONVERGED, status=status, message=message)
    return found


def _by_lbfgs(
    search: LBFGS,
    evaluated: Callable[[], OptimizeResult],
    report: Callable[[OptimizeResult], bool],
) -> OptimizeResult:
    """Take iterations of L-BFGS until something ends it."""
    last = lowest = OptimizeResult(fun=math.inf)
    count = 0

    def closure() -> tuple[float, Any]:
        nonlocal last, lowest, count
        last, count = evaluated(), count + 1
        lowest = last if last.fun < lowest.fun else lowest
        return last.fun, last.jac

    def found_at(progress: Progress) -> OptimizeResult:
        # it stands at the last point, or has gone back to the lowest
        found = last if last.fun == progress.loss else lowest
        found.update(nit=progress.iterations, nfev=count, njev=count)
        return found

    def after_iteration(progress: Progress) -> None:
        if report(found_at(progress)):
            raise StopIteration

    progress = search.step(closure, after_iteration)
    found = found_at(progress)
    found.update(success=progress.converged, status=progress.status, message=progress.message)
    return found


def _start(x0: Any) -> Any:
    """Return a copy of ``x0`` to change in place: numbers as an array of floats."""
    if not isinstance(x0, (np.ndarray, np.generic, list, tuple, int, float, complex)):
        return copy.deepcopy(x0)  # an array of another library
    x = np.array(x0)
    return x.astype(np.float64) if x.dtype.kind in "iub" else x


def _like(x: Any, grad: Any) -> Any:
    """Return a gradient in the dtype of ``x``; scipy takes lists and other precisions, too."""
    if not isinstance(x, np.ndarray):
        return grad
    array = np.asarray(grad)
    return array if array.dtype == x.dtype else array.astype(x.dtype, casting="same_kind")


def _judged(value: float, largest: float, gtol: float, last: bool) -> tuple[int | None, str]:
    """Say why it ends here, as a status and a message; the status is None if it goes on."""
    if not (math.isfinite(value) and math.isfinite(largest)):
        return NOT_FINITE, f"the function is {value}, its largest derivative {largest}"
    if largest <= gtol:
        return CONVERGED, f"no element of the gradient is larger than gtol={gtol:g}"
    if last:
        return LIMIT, f"maxiter is reached; the largest derivative is still {largest:.3g}"
    return None, ""


def _reporter(callback: Callable[..., Any] | None) -> Callable[[OptimizeResult], bool]:
    """Return a function that calls ``callback`` and says whether that stops the run."""
    if callback is None:
        return lambda found: False
    wants_result = {*inspect.signature(callback).parameters} == {"intermediate_result"}

    def report(found: OptimizeResult) -> bool:
        try:
            if wants_result:
                callback(intermediate_result=found)
            else:
                callback(found.x)
        except StopIteration:
            return True
        return False

    return report
