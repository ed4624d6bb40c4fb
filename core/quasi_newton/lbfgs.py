"""``LBFGS``: the optimizer for losses that are smooth and have an exact gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from typing import Any, NoReturn, Self

from ..interrupts import held
from ..language.keywords import known_keywords
from ..protocol import Backend
from .closure import Closure
from .options import Options
from .progress import Progress
from .run import Run
from .saved import load, restore, save, take, unpickled


def _option(name: str, about: str) -> Any:
    """Make an attribute that reads an option, and changes it from the next step on."""

    def read(self: LBFGS) -> Any:
        return getattr(self._run.options, name)

    def change(self: LBFGS, value: Any) -> None:
        changed = replace(self._run.options, **{name: value})
        changed.check()
        self._run.options = changed

    return property(read, change, doc=about)


class LBFGS:
    """Updates parameters in place by L-BFGS: along directions that the curvature of the last steps
    makes, as far as a line search says.

    Parameters
    ----------
    params : array, or nested list / tuple / dict of arrays
        Updated in place: float32 or float64, complex numbers of them too, also mixed. There are no
        parameter groups.
    history : int
        The number of pairs of changes that are kept: two vectors of float64 each.
    line_search : "strong_wolfe", "backtracking" or None
        The strong Wolfe conditions (for most losses); a sufficient decrease (fewer evaluations
        where the loss is rough); or None, to take steps of length ``lr`` whatever the loss does.
    lr : float
        What the first step length of a line search is multiplied by.
    max_iter : int
        The iterations of one call of ``step`` at most.
    max_evals : int, optional
        The evaluations of one call of ``step`` at most; without it, 20 for each iteration.
    tolerance_grad : float
        Stop where no element of the gradient is larger in magnitude.
    tolerance_change : float
        Stop where an iteration lowers the loss by no more than this times its magnitude (or
        times 1, if that is larger); 0 for never.
    backend : str, optional
        As for `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        For parameters or options that cannot be used.

    Notes
    -----
    All vectors are float64, whatever the parameters are stored in, and are summed in one fixed
    order: every backend takes the same way, bit for bit, as long as the closure returns the same
    bits. So does an array that is split into several ones in the same order. ``history`` is fixed;
    the other options are attributes, and may be changed between steps.
    """

    __slots__ = ("__weakref__", "_run")

    @known_keywords()
    def __init__(
        self,
        params: Any,
        *,
        history: int = 10,
        line_search: str | None = "strong_wolfe",
        lr: float = 1.0,
        max_iter: int = 20,
        max_evals: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        backend: str | None = None,
    ) -> None:
        options = Options(
            history, line_search, lr, max_iter, max_evals, tolerance_grad, tolerance_change
        )
        self._run = Run(params, backend, options)

    def __repr__(self) -> str:
        run = self._run
        pairs = f"{len(run.pairs.order)} of {self.history} pairs"
        return f"<lbfgs on {run.backend.name}: {run.vectors.size} numbers, {pairs}>"

    @property
    def backend(self) -> Backend:
        """The backend that it runs on."""
        return self._run.backend

    @property
    def history(self) -> int:
        """The number of pairs that are kept at most."""
        return self._run.options.history

    @property
    def iterations(self) -> int:
        """The number of iterations of all steps so far."""
        return self._run.iterations

    @property
    def evaluations(self) -> int:
        """The number of evaluations of all steps so far."""
        return self._run.evaluations

    line_search: str | None = _option("line_search", "The name of the line search.")
    lr: float = _option("lr", "The factor of a line search's first step length.")
    max_iter: int = _option("max_iter", "The iterations of a step at most.")
    max_evals: int | None = _option("max_evals", "The evaluations of a step at most.")
    tolerance_grad: float = _option("tolerance_grad", "The size of a gradient that is zero.")
    tolerance_change: float = _option("tolerance_change", "The relative change that is none.")

    @known_keywords()
    def step(self, closure: Closure, callback: Callable[[Progress], Any] | None = None) -> Progress:
        """Take up to ``max_iter`` iterations, and return how far they came.

        Parameters
        ----------
        closure : callable
            ``closure()`` returns the loss at the parameters as they are, a number or an array of
            one, and its gradient: arrays of the structure and shapes of the parameters, of any
            floating dtype; None for zeros. It must return the same for the same parameters. A loss
            or gradient that is infinite or NaN says that a step was too long.
        callback : callable, optional
            Called with the `Progress` after each iteration. It stops by raising StopIteration.

        Raises
        ------
        TypeError, ValueError
            If closure returns what cannot be used, or, at the first evaluation, what is not finite.
            Parameters are then, as after an error of the closure's own, where the loss was lowest.
        RuntimeError
            As `Optimizer.step` does; also if closure puts other arrays in the places of parameters.

        Notes
        -----
        Each call evaluates at the parameters first. Ctrl-C takes effect in the closure or between
        two evaluations.
        """
        with self._run.alone:
            return self._run.step(closure, callback)

    def reset(self) -> None:
        """Forget the history and the counts; parameters and options stay."""
        with self._run.alone:
            self._run.reset()

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """Return a snapshot of everything but the parameters: the options, the counts, and the
        history in NumPy arrays."""
        with self._run.alone:
            return take(self._run)

    def load_state_dict(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of as many numbers and the same ``history``, taken on any backend.
        Parameters in dicts are found by their names.

        Raises TypeError or ValueError if it does not fit; nothing is changed then.
        """
        with held(), self._run.alone:
            restore(self._run, snapshot)

    def save(self, path: str | PathLike[str]) -> None:
        """Write parameters, history, counts and options to one file, as `Optimizer.save` does, and
        with its errors."""
        with self._run.alone:
            save(self._run, path)

    @classmethod
    @known_keywords()
    def load(cls, path: str | PathLike[str], params: Any, *, backend: str | None = None) -> Self:
        """Return an optimizer that goes on from a file, on any backend, bit for bit.

        ``params`` have the names, dtypes and shapes that were saved; their values become those of
        the file. Raises what `Optimizer.load` raises.
        """
        optimizer = cls.__new__(cls)
        optimizer._run = load(path, params, backend)
        return optimizer

    def __copy__(self) -> NoReturn:
        """Raise TypeError: a copy would update the same parameters with another history."""
        raise TypeError(
            "copy.copy of an optimizer would share its parameters but not its state; copy.deepcopy "
            "copies both"
        )

    def __getstate__(self) -> dict[str, Any]:
        run = self._run
        return {"params": run.params, "backend": run.backend.name, "snapshot": self.state_dict()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self._run = unpickled(saved)
