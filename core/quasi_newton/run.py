"""A run of L-BFGS: all that the next step depends on, so what a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..choice import get_backend
from ..parameters.by_name import as_groups
from ..parameters.names import dotted_names
from ..parameters.trees import flatten
from ..protocol import Backend
from ..step.launches import KeptLaunches
from ..step.one_thread import OneThread
from .closure import Closure
from .history import Pairs
from .iterations import Iterations
from .options import Options
from .parameters import ParameterVector
from .progress import STOPPED, Progress
from .vectors import Vectors


class Run:
    """The parameters with the history and options, and counts of all steps so far.

    Raises TypeError or ValueError for what `samestep.LBFGS` cannot use.
    """

    def __init__(self, params: Any, backend: str | None, options: Options) -> None:
        options.check()
        groups, single, _ = as_groups(params)
        if not single:
            raise TypeError(
                "params is a list of parameter groups; L-BFGS has one direction for all parameters: "
                "pass the arrays themselves"
            )
        self.params, self.options = groups[0]["params"], options
        leaves, self._names, self._spec = flatten(self.params, "params")
        if not leaves:
            raise ValueError("params is empty: there is nothing to optimize")
        self.backend: Backend = get_backend(backend, leaves)
        self._kept = KeptLaunches(self.backend)
        size = self.parameters().size
        if not size:
            raise ValueError("params has no elements: there is nothing to optimize")
        self.vectors = Vectors(self.backend, size, options.history)
        self.pairs = Pairs(options.history)
        self.iterations, self.evaluations = 0, 0
        self.alone = OneThread()

    @property
    def names(self) -> list[str] | None:
        """The names of the parameters in a snapshot; None for parameters of lists."""
        return dotted_names(self._spec, self._names)

    def parameters(self) -> ParameterVector:
        """Return the parameters where they are now: other arrays may stand in their places. Raises
        TypeError or ValueError for what cannot be used."""
        return ParameterVector(self._kept, self.params, self._names, self._spec)

    def step(self, closure: Closure, callback: Callable[[Progress], Any] | None) -> Progress:
        """Iterate until something ends it; see `samestep.LBFGS.step`."""
        self.backend.check_arithmetic()
        parameters = self.parameters()
        if parameters.size != self.vectors.size:
            raise ValueError(
                f"params has {parameters.size} numbers now; it had {self.vectors.size} when the "
                "optimizer was made"
            )
        way = Iterations(self.vectors, self.pairs, parameters, closure, self.options)
        taken = 0
        try:
            for progress in way:
                if progress.iterations > taken:
                    taken = progress.iterations
                    if callback is not None and _stops(callback, progress):
                        message = "callback raised StopIteration"
                        return replace(progress, status=STOPPED, message=message)
        finally:
            self.iterations += taken
            self.evaluations += way.evaluations
        return progress

    def reset(self) -> None:
        """Forget the history and the counts."""
        self.pairs.clear()
        self.iterations, self.evaluations = 0, 0


def _stops(callback: Callable[[Progress], Any], progress: Progress) -> bool:
    """Call it, and say whether it raised StopIteration."""
    try:
        callback(progress)
    except StopIteration:
        return True
    return False
