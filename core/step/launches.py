"""The launches of a step: which parameters one launch updates, and its rows of scalars."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Any

import numpy as np

from ..interrupts import held
from ..language.around import last_copies
from ..language.dtypes import COMPUTE_DTYPE
from ..language.rule import Rule
from ..language.scalars import scalar_names
from ..parameters.copies import with_copies
from ..protocol import Backend, Dtypes, Gradients, Launch, Tensor
from .staged_launch import StagedLaunch, launch_of

Assign = Callable[[Dtypes], tuple[Sequence[Rule], Sequence[Any]]]


ABSENT = object()  # in the place of the key of a tensor without a gradient


class KeptLaunches:
    """A backend that makes each launch once, for tensors that are others at every step: what was
    bound last must not be needed any more."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._launch = functools.cache(backend.launch)

    def launch(self, rule: Rule, *like: Any) -> Launch:
        """Return the launch of a rule; a new one where several may be needed, one for each copy."""
        return (self._backend.launch if last_copies(rule.around) else self._launch)(rule, *like)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class Bucket:
    """The parameters that one launch updates, with one row of scalars per key."""

    def __init__(
        self, backend: Backend, rule: Rule, dtype: str, grad_dtype: str, tensors: dict[int, Tensor]
    ) -> None:
        self._backend, self.rule = backend, rule
        self._compute = COMPUTE_DTYPE[dtype]
        self._dtype = np.dtype(self._compute)
        self.positions, self._tensors = list(tensors), list(tensors.values())
        self._rows: Any = None
        self._launch = launch_of(backend, rule, dtype, grad_dtype)
        self.computes = isinstance(self._launch, StagedLaunch)  # functions of whole matrices
        self._launch.bind(self._tensors, self.positions)
        letter = {"float32": "f", "float64": "d"}[self._compute]
        self._rounded = struct.Struct(f"={len(scalar_names(rule)) + 1}{letter}").pack

    def set_keys(self, keys: Sequence[Any], row_of_tensor: Sequence[int]) -> None:
        """Give each key a row, in this order; a negative row leaves its tensor as it is."""
        self.keys = keys
        self._launch.set_rows(row_of_tensor)
        stepping = list(compress(self._tensors, [row >= 0 for row in row_of_tensor]))
        self._staged = [tensor for tensor in stepping if tensor.staged]
        self.mark_changed = self._backend.change_marker(with_copies(stepping))

    def set_rows(self, rows: Sequence[tuple[float, ...]]) -> None:
        """Round scalars from float64 to the compute dtype, once; the last of a row is the
        gradient's coefficient. Raises ValueError for one that is finite only before rounding."""
        try:  # `struct` rounds as a cast does, and raises, in half the time that NumPy takes
            rounded = bytearray().join([self._rounded(*row) for row in rows])
        except OverflowError:
            raise self._too_large(rows) from None
        if self._launch.rows_dtype == self._compute:
            self._rows = np.ndarray((len(rows), len(rows[0])), self._dtype, rounded)
        else:  # a device rounds; it cannot raise
            self._rows = np.array(rows, self._launch.rows_dtype)
        self._exact_rows = rows

    def shrink_gradients(self, factor: float, gradients: Gradients) -> None:
        """Multiply the coefficients of the gradients by ``factor``, at most 1, before rounding, and
        be ready for a run with them."""
        if factor != 1.0:
            self.set_rows([(*scalars, last * factor) for *scalars, last in self._exact_rows])
        self.ready(gradients)

    def _too_large(self, rows: Sequence[tuple[float, ...]]) -> ValueError:
        with held(), np.errstate(over="ignore"):
            lost = np.isinf(np.array(rows, self._compute)) & np.isfinite(np.array(rows, np.float64))
        row, column = np.argwhere(lost)[0]
        name = (*scalar_names(self.rule), "grad_coefficient")[column]
        return ValueError(
            f"{self.rule.name}: the scalar {name} is {rows[row][column]:g}, which is infinite in "
            f"{self._compute}; a hyperparameter is too large"
        )

    def ready(self, gradients: Gradients) -> None:
        """Take what a run needs: whatever may fail does so before the first launch of a step."""
        self._launch.ready(self._rows, gradients)

    def compute(self, gradients: Gradients, control: Any = None) -> None:
        """Compute functions of whole matrices, which may fail: for all launches of a step before
        the first one runs. ``control`` is that of a verdict."""
        if isinstance(self._launch, StagedLaunch):
            for tensor in self._staged:
                tensor.pull()
            self._launch.compute(self._rows, gradients, control)

    def run(self, gradients: Gradients, control: Any = None) -> None:
        """Update the parameters; ``control`` is that of a verdict."""
        for tensor in self._staged:
            tensor.pull()
        self._launch.run(self._rows, gradients, control)
        for tensor in self._staged:
            tensor.push()

    def check_prepared(self) -> None:
        """Raise RuntimeError for rows that work that was captured cannot take."""
        if isinstance(self._launch, StagedLaunch):
            self._launch.check_prepared(self._rows)

    def prepare(self) -> None:
        """Hand the rows to work that was captured."""
        self._launch.prepare(self._rows)


class Launches:
    """One launch per rule and pair of storage dtypes, over all of these tensors.

    Tensors of one launch that have the same key share a row of scalars.
    """

    def __init__(self, backend: Backend, tensors: Sequence[Tensor]) -> None:
        self._backend, self._tensors = backend, tensors
        self._own_dtypes = [tensor.dtype for tensor in tensors]
        self._known: dict[Any, Bucket] = {}
        # the members of launches, with the rules and dtypes that they follow from
        self._members: dict[tuple[Rule, str, str], list[int]] = {}
        self._members_of: tuple[Sequence[Rule], Dtypes] = ([], [])
        self._buckets: list[Bucket] = []
        self._dtypes: Dtypes | None = None

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self._buckets)

    def forget(self) -> None:
        """Assign rules and keys anew next time."""
        self._dtypes = None

    def bind_again(self) -> None:
        """Look up tensors that lie elsewhere than they did."""
        self._known.clear()
        self.forget()

    def choose(self, dtypes: Dtypes, assign: Assign) -> None:
        """Make the launches those for gradients of these dtypes.

        ``assign(dtypes)`` gives each tensor's rule and key; it is asked when the dtypes have
        changed. It is not kept: that would be a cycle, and memory would be freed late. A tensor
        without a gradient stays where it most likely belongs, with no row of scalars.
        """
        if dtypes is self._dtypes or dtypes == self._dtypes:
            return
        self._dtypes = None
        rules, keys = assign(dtypes)
        buckets = []
        for launched, positions in self._by_launch(rules, dtypes).items():
            own = [ABSENT if dtypes[i] is None else keys[i] for i in positions]
            row = {ABSENT: -1}
            for key in dict.fromkeys(own):
                row.setdefault(key, len(row) - 1)
            if len(row) == 1:
                continue
            bucket = self._known.get(launched)
            if bucket is None or bucket.positions != positions:
                tensors = {i: self._tensors[i] for i in positions}
                bucket = self._known[launched] = Bucket(self._backend, *launched, tensors)
            bucket.set_keys(list(row)[1:], list(map(row.__getitem__, own)))
            buckets.append(bucket)
        self._buckets, self._dtypes = buckets, dtypes

    def _by_launch(
        self, rules: Sequence[Rule], dtypes: Dtypes
    ) -> dict[tuple[Rule, str, str], list[int]]:
        """Return the positions of the tensors of each launch, by its rule and dtypes: the ones of
        last time if only other gradients are there."""
        filled = [dtype or own for dtype, own in zip(dtypes, self._own_dtypes, strict=True)]
        if (rules, filled) != self._members_of:
            members: dict[tuple[Rule, str, str], list[int]] = {}
            for i, launched in enumerate(zip(rules, self._own_dtypes, filled, strict=True)):
                members.setdefault(launched, []).append(i)
            self._members, self._members_of = members, (rules, filled)
        return self._members
