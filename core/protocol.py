"""The protocol of a backend: what the core asks of it, and what it must offer.

A backend knows operations and arrays, never an optimizer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .language.rule import Rule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray  # slow to import

    from .language.dtypes import Cast

Dtypes = Sequence[str | None]  # names, by position; None where there is no gradient


class Tensor(Protocol):
    """A parameter as a backend adopted it: its own memory, seen as one contiguous vector of
    reals, with its state."""

    name: str
    owner: Any  # what was passed
    array: Any
    shape: tuple[int, ...]
    dtype: str
    flat: Any
    state: dict[str, Any]

    rows_and_columns: tuple[int, int]  # the shape as a matrix
    position: int  # among all parameters of the optimizer: random bits are counted by it
    copied_to: Tensor | None  # the caller's copy in 16 bits, which is the state `copy`
    staged: bool  # not contiguous: `pull` copies it in before a step and `push` back after it

    def flat_state(self, name: str) -> Any:
        """Return a state array as a contiguous vector of reals over the same memory."""

    def with_state(self, state: dict[str, Any], written: bool = False) -> Tensor:
        """Return the same parameter with another state, for launches that only read it, or, if it
        is to be ``written``, for others."""

    def some_rows(self, where: Any, vectors: Collection[str]) -> Tensor:
        """Return some rows as a staged tensor of their own; ``where`` is of `Gradients.rows`.
        ``vectors`` are the names of states that are a vector, of as many numbers for each row."""

    def pull(self) -> None:
        """Copy a staged parameter to where launches update it."""

    def push(self) -> None:
        """Copy a staged parameter back after a step."""


class Gradients(Protocol):
    """The gradients of one step, checked by the backend whose launches read them.

    ``dtypes`` are the names of their dtypes, one per tensor; None where there is no gradient.
    ``rows`` has, by position, the indices of gradients that are of some rows only: a vector for
    each of the parameter's first axes, the first one for whole rows.
    """

    dtypes: Dtypes
    rows: Mapping[int, Any]

    def release(self) -> None:
        """Let go of the arrays: they belong to the caller. Their addresses stay known."""


class GradientChecker(Protocol):
    """Checks gradients against the parameters they belong to.

    ``moved`` says whether parameters were found in other memory than before; whoever has told
    everybody sets it to False. ``casts``: which gradients of other dtypes are converted. ``what``:
    what messages call them.
    """

    moved: bool
    casts: Cast
    what: str

    def accept(self, leaves: list[Any]) -> Gradients:
        """Check one gradient per tensor, or None.

        The result is the same object as last time if these are the very arrays of last time. It
        keeps them alive until it is released. Raises TypeError or ValueError naming the parameter.
        """


class Launch(Protocol):
    """The update of all tensors of one rule variant and one pair of storage dtypes, as one unit
    of work: on compiled backends one kernel launch per pass.

    ``rows_dtype`` is the dtype in which it takes rows of scalars: the compute dtype, or float64
    where the gradient's coefficient is only complete on a device.
    """

    rows_dtype: str

    def bind(self, tensors: Sequence[Any], positions: Sequence[int]) -> None:
        """Take note of where parameters and state are; compile what is not compiled yet.
        ``positions`` are those of the tensors among all of the optimizer's."""

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Say which row of scalars applies to each tensor; a negative one leaves it as it is."""

    def ready(self, rows: Any, gradients: Any) -> None:
        """Take everything that `run` with these arguments needs and may not get: threads, memory.
        All launches of a step are made ready before the first one runs."""

    def run(self, rows: Any, gradients: Any, control: Any) -> None:
        """Update the tensors, once `ready`.

        ``rows``: (number of rows, number of scalars + 1) of ``rows_dtype``; the last scalar
        multiplies the gradient. ``gradients``: those of all of the optimizer's tensors, as
        `GradientChecker.accept` gave them. ``control``: that of a `Verdict`, or None.
        """

    def prepare(self, rows: Any) -> None:
        """Do what a replay of recorded work does not do by itself: hand over the next rows."""


class Verdict(Protocol):
    """The consequences of what was measured of all gradients (`samestep.step.measurement`).

    ``coefficient`` is what rows of scalars are multiplied by on the host, or ``control`` what
    launches on a device get instead; it also makes them do nothing where a gradient is not
    finite. ``decided``: whether ``finite`` is known already; otherwise asking waits, as asking
    for the ``norm`` may.
    """

    coefficient: float
    control: Any
    decided: bool

    @property
    def finite(self) -> bool: ...

    @property
    def norm(self) -> float: ...


@dataclass(eq=False)
class KnownVerdict:
    """A `Verdict` that is known at once, as on a host; by default that on nothing measured."""

    coefficient: float = 1.0
    finite: bool = True
    norm: float = math.nan
    control: Any = None
    decided: bool = True


NOT_MEASURED = KnownVerdict()


class Judge(Protocol):
    """Decides what follows from sums of all tensors, whenever they were measured.

    ``limit`` is what the norm is to be at most; ``scale`` is what gradients are multiplied by
    where they are measured again.
    """

    def again(self, limit: float | None, scale: float) -> Verdict | None:
        """Look at sums of squares; return what launches that measure again go by, None where all
        sums are finite. On a device such launches do nothing then."""

    def decide(self, limit: float | None, scale: float) -> Verdict:
        """Return the verdict: where the norm, or a gradient, is not finite, the step is left
        out."""

    def prepare(self, limit: float | None, scale: float) -> None:
        """Make what was recorded of `again` and `decide` go by these when it is replayed."""


class BackendBase:
    """The part that is the same for nearly all backends: ``<backend 'numpy'>``, and states lie
    where they were made."""

    name: str
    product_dtypes: Collection[str] = ()

    def __repr__(self) -> str:
        return f"<backend {self.name!r}>"

    def arrange_states(self, tensors: Sequence[Any]) -> None:
        """Leave them where they are."""


class Backend(Protocol):
    """The protocol of a backend; see ``backends/numpy/`` for the smallest one.

    ``product_dtypes`` are those of fewer bits than the compute dtype in which it multiplies
    matrices. ``library`` is the module of its arrays, of which functions of matrices call
    ``linalg.eigh``, ``isfinite`` and ``where``.
    """

    name: str
    product_dtypes: Collection[str]
    library: Any

    def accepts(self, array: Any) -> bool:
        """Say whether ``array`` is of a type that this backend updates in place."""

    def adopt(self, name: str, array: Any) -> Tensor:
        """Check a parameter. Raises TypeError or ValueError with its name."""

    def check_overlap(self, tensors: Sequence[Any]) -> None:
        """Raise ValueError if two parameters share memory."""

    def new_state(self, tensor: Any, rule: Rule, hyper: dict[str, Any]) -> dict[str, Any]:
        """Return freshly initialized state arrays, by name."""

    def arrange_states(self, tensors: Sequence[Any]) -> None:
        """Move the new states of these parameters to where launches read them fastest."""

    def zeros(self, size: int, dtype: str) -> Any:
        """Return a vector of zeros; slices of it serve as state arrays."""

    def gradient_checker(self, tensors: Sequence[Any]) -> GradientChecker:
        """Return a checker of gradients for these tensors."""

    def check_arithmetic(self) -> None:
        """Raise RuntimeError if this thread or a worker flushes subnormals to zero or does not
        round to nearest."""

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> Launch:
        """Return a new launch; ``scalars`` are the names in a row, in order."""

    def on_matrices(self, function: Callable[..., None], *args: Any) -> None:
        """Call ``function(matmul, *args)`` where this backend computes. ``matmul(a, b, out)`` is
        its product of stacks of matrices, in memory that `zeros` returned."""

    def on_narrow_matrices(
        self, function: Callable[..., None], dtype: str, stack: Any, size: int, *numbers: float
    ) -> None:
        """Call ``function(matmul, stack, memory, *numbers)`` as `on_matrices` does, with the stack,
        and ``size`` more elements of memory, in a ``dtype`` of fewer bits; then round it back."""

    def change_marker(self, tensors: Sequence[Any]) -> Callable[[], None]:
        """Return a function that tells whoever keeps watch over these parameters' memory (autograd)
        that it is written to."""

    def watcher(self, tensors: list[Any]) -> Callable[[], bool]:
        """Return a function that says whether these tensors, parameters or state, are what and
        where they were: the same objects can be made to stand for other memory."""

    def to_numpy(self, array: Any, copied: bool = True) -> Any:
        """Return a parameter or state array as a NumPy array: a copy, or if not ``copied``
        its own memory where NumPy can see that."""

    def apart(self, values: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
        """Return NumPy arrays, copied where they lie in the memory of these parameters or
        states."""

    def copy_into(self, array: Any, values: Any) -> None:
        """Overwrite a parameter or a state array."""

    def asarray(self, array: Any) -> Any:
        """Return ``array`` where this backend updates it: itself if it is there already, otherwise
        a copy. For programs that choose a backend when they run."""

    # the next three are the same for all backends in host memory: backends/host/judge.py

    def numbers(self, arrays: Sequence[Any]) -> Callable[[], NDArray[np.float64]]:
        """Begin to read states of one number each. Returns a function that waits for them and
        returns a vector of float64."""

    def judge(self, squares: bool, sums: Sequence[Any]) -> Judge:
        """Return the judge of these sums of all tensors, a vector per compute dtype: of
        ``squares``, or of differences, which are 0 where all is finite."""

    def capturing(self) -> bool:
        """Say whether work is only being recorded, to be replayed later."""

    def leaves_out(self, control: Any) -> bool:
        """Say whether launches with this control of a verdict leave everything as it is; on a
        device this waits."""


@dataclass(frozen=True)
class Availability:
    """A backend's word on whether it can run here; if not, why, and what to install."""

    name: str
    available: bool
    detail: str
    install: str = ""


def too_old(product: str, version: str, oldest: tuple[int, int]) -> str:
    """Return what is wrong with a release such as "2.13.0+cpu" that is older than ``oldest``, such
    as (2, 6); "" for one that is not."""
    if tuple(map(int, re.findall(r"\d+", version)[:2])) >= oldest:
        return ""
    return f"{product} {version} is too old, it takes {oldest[0]}.{oldest[1]} or newer"
