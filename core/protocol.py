"""What a backend is to the core, and how one is chosen.

A backend knows operations and arrays, never an optimizer. The core never imports one except by
name, here, when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .language.rule import Rule


class Tensor(Protocol):
    """A parameter as a backend adopted it: its own memory, seen as one contiguous vector of
    reals, with its state."""

    name: str
    array: Any
    shape: tuple[int, ...]
    dtype: str
    flat: Any
    state: dict[str, Any]

    staged: bool  # not contiguous: `pull` copies it in before a step and `push` back after it

    def flat_state(self, name: str) -> Any: ...

    def rows(self, indices: Any) -> Tensor:
        """Some rows as a staged tensor of their own. Of backends that accept gradients of some."""

    def pull(self) -> None: ...

    def push(self) -> None: ...


class Launch(Protocol):
    """The update of all tensors of one rule variant and one pair of storage dtypes, as one unit
    of work: on compiled backends one kernel launch per pass.

    A launch on a device has two things more. ``rows_dtype`` is "float64", in which it takes rows,
    because the gradient's coefficient is only complete there; ``run`` takes the ``control`` of a
    `Verdict` as a third argument; and ``prepare(rows)`` does of ``run`` what a replay of recorded
    work does not do by itself.
    """

    def bind(self, tensors: Sequence[Any]) -> None:
        """Take note of where parameters and state are; compile what is not compiled yet."""

    def set_gradients(self, addresses: Any) -> None:
        """Where each tensor's gradient is, from `Gradients.accept`; 0 for none."""

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Which row of scalars applies to each tensor; a negative one leaves it as it is."""

    def run(self, rows: Any, grads: Sequence[Any]) -> None:
        """Update. ``rows``: (number of rows, number of scalars + 1) in the compute dtype; the
        last scalar multiplies the gradient. ``grads``: the arrays at those addresses; they must
        not be kept alive after this."""


class Gradients(Protocol):
    """Checks gradients against the parameters they belong to."""

    def same(self, leaves: list[Any]) -> bool:
        """Whether these are the very arrays that were remembered last."""

    def remember(self, leaves: list[Any]) -> None:
        """Recognize these arrays next time, without keeping them alive."""

    def forget(self) -> None:
        """Look at the next gradients anew, whatever they are."""

    def accept(self, leaves: list[Any]) -> Any:
        """Check one gradient per tensor, or None. The result has ``arrays``, ``kinds`` (dtype
        names) and ``addresses`` with an entry per tensor, and ``moved``: whether parameters lie
        elsewhere than they did. Raises TypeError or ValueError."""


class Verdict(Protocol):
    """What follows from what was measured of all gradients (`samestep.step.measurement`).

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


class Judge(Protocol):
    """Decides what follows from sums of all tensors, whenever they were measured."""

    def decide(self, limit: float | None) -> Verdict:
        """The verdict, where the norm is to be at most ``limit``."""

    def prepare(self, limit: float | None) -> None:
        """Make what was recorded of `decide` go by this limit when it is replayed."""


class Backend(Protocol):
    """The protocol of a backend; see ``backends/numpy.py`` for the smallest one."""

    name: str
    matrices: Any  # matmul and transpose of arrays where this backend updates them

    def accepts(self, array: Any) -> bool:
        """Whether ``array`` is of a type this backend updates in place."""

    def adopt(self, name: str, array: Any) -> Tensor:
        """Check a parameter. Raises TypeError or ValueError with its name."""

    def check_overlap(self, tensors: Sequence[Any]) -> None:
        """Raise ValueError if two parameters share memory."""

    def new_state(self, tensor: Any, rule: Rule, hyper: dict[str, Any]) -> dict[str, Any]:
        """Freshly initialized state arrays."""

    def zeros(self, size: int, dtype: str) -> Any:
        """A vector of zeros; slices of it serve as state arrays."""

    def gradients(self, tensors: Sequence[Any]) -> Gradients:
        """The checker of gradients for these tensors."""

    def check_arithmetic(self) -> None:
        """Raise RuntimeError if this thread or a worker flushes subnormals to zero."""

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> Launch:
        """A new launch; ``scalars`` are the names in a row, in order."""

    def change_marker(self, tensors: Sequence[Any]) -> Callable[[], None]:
        """A function that tells whoever keeps watch over these parameters' memory that it is
        written to."""

    def watcher(self, tensors: list[Any]) -> Callable[[], bool]:
        """A function that says whether these tensors, parameters or state, are what and where
        they were: the same objects can be made to stand for other memory."""

    def to_numpy(self, array: Any, copied: bool = True) -> Any:
        """A parameter or state array as a NumPy array on the host: a copy, or if not ``copied``
        its own memory where NumPy can see that."""

    def copy_into(self, array: Any, values: Any) -> None:
        """Overwrite a parameter or a state array."""

    def asarray(self, array: Any) -> Any:
        """``array`` where this backend updates it, for programs that choose a backend when they
        run: itself if it is there already, otherwise a copy."""

    # `samestep.backends.host.judge.DecidesOnHost` has the rest for hosts

    def judge(self, sums: Mapping[str, Sequence[Any]]) -> Judge:
        """Who decides what follows from these sums of all tensors: "sum_of_squares" and
        "difference", a vector per compute dtype."""

    def capturing(self) -> bool:
        """Whether work is only being recorded, to be replayed later."""


@dataclass(frozen=True)
class Availability:
    """Whether a backend can run here; if not, why, and what to install."""

    name: str
    available: bool
    detail: str
    install: str = ""
