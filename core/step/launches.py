"""The parameters that one launch updates together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..interrupts import held
from ..language.dtypes import COMPUTE_DTYPE
from ..language.rule import Rule
from ..language.scalars import scalar_names
from ..protocol import Backend, Launch

Assign = Callable[[list[str | None]], tuple[Sequence[Rule], Sequence[Any]]]


class Target:
    """The gradients that launches are pointed at: per tensor the name of the dtype, None where
    there is no gradient, and the address. The arrays themselves are not kept alive. ``rows`` has the
    indices of gradients that are of some rows only, by position."""

    def __init__(
        self, kinds: list[str | None], addresses: Any, rows: Mapping[int, Any] | None = None
    ) -> None:
        self.kinds, self.addresses, self.rows = kinds, addresses, rows


class KeptLaunches:
    """A backend that makes each launch once, for tensors that are others at every step: what was
    bound last must not be needed any more."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.launch = functools.cache(backend.launch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class Bucket:
    """The parameters that one launch updates, with one row of scalars per key."""

    def __init__(
        self,
        backend: Backend,
        rule: Rule,
        launch: Launch,
        members: list[int],
        tensors: list[Any],
        dtype: str,
    ) -> None:
        self._backend, self.rule, self.launch, self.members = backend, rule, launch, members
        self.compute, self.dtype = dtype, getattr(launch, "rows_dtype", dtype)
        self.tensors = [tensors[i] for i in members]
        self.alone = len(members) == len(tensors)
        self.rows: Any = None
        launch.bind(self.tensors)

    def point_at(self, addresses: Any) -> None:
        """Where the gradients of all of the optimizer's parameters are."""
        self.launch.set_gradients(addresses if self.alone else addresses[self.members])

    def set_keys(self, keys: list[Any], row_of_tensor: Sequence[int]) -> None:
        """One row per key, in this order; a negative row leaves its tensor as it is."""
        self.keys = keys
        self.launch.set_rows(row_of_tensor)
        stepping = [t for t, row in zip(self.tensors, row_of_tensor, strict=True) if row >= 0]
        self.staged = [tensor for tensor in stepping if tensor.staged]
        self.mark_changed = self._backend.change_marker(stepping)

    def as_rows(self, rows: Sequence[tuple[float, ...]]) -> Any:
        """Scalars in float64, rounded once to the compute dtype; the last is the gradient's
        coefficient. Raises ValueError for one that is finite only before rounding."""
        try:
            with np.errstate(over="raise"):
                if self.dtype != self.compute:  # a device rounds them; it cannot raise
                    np.array(rows, self.compute)
                return np.array(rows, self.dtype)
        except FloatingPointError:
            raise self._too_large(rows) from None

    def _too_large(self, rows: Sequence[tuple[float, ...]]) -> ValueError:
        with held(), np.errstate(over="ignore"):
            lost = np.isinf(np.array(rows, self.compute)) & np.isfinite(np.array(rows, np.float64))
        row, column = np.argwhere(lost)[0]
        name = (*scalar_names(self.rule), "grad_coefficient")[column]
        return ValueError(
            f"{self.rule.name}: the scalar {name} is {rows[row][column]:g}, which is infinite in "
            f"{self.compute}; a hyperparameter is too large"
        )

    def run(self, grads: list[Any], control: Any = None) -> None:
        """Update the members with ``rows``; ``grads`` are those of all of the optimizer's
        parameters, ``control`` is that of a verdict."""
        for tensor in self.staged:
            tensor.pull()
        grads = grads if self.alone else [grads[i] for i in self.members]
        if control is None:
            self.launch.run(self.rows, grads)
        else:
            launch: Any = self.launch  # one on a device
            launch.run(self.rows, grads, control)
        for tensor in self.staged:
            tensor.push()

    def prepare(self) -> None:
        """Hand ``rows`` to work that was captured."""
        launch: Any = self.launch
        launch.prepare(self.rows)


class Buckets:
    """One bucket, so one launch, per rule and storage dtypes, over all of these tensors.

    ``assign(kinds)`` gives each tensor's rule and its key: tensors of one bucket that have the
    same key share a row of scalars. It is asked when the kinds of gradients have changed.
    """

    def __init__(self, backend: Backend, tensors: list[Any]) -> None:
        self._backend, self._tensors = backend, tensors
        self._known: dict[Any, Bucket] = {}
        self._buckets: list[Bucket] = []
        self._target: Target | None = None

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self._buckets)

    def point_at(self, target: Target, assign: Assign) -> None:
        """Make the buckets those of gradients of these kinds, at these addresses."""
        if target is self._target:
            return
        if self._target is None or target.kinds != self._target.kinds:
            self.sort(target, assign)
        else:
            self._point(target)

    def forget(self) -> None:
        """Assign rules and keys anew next time."""
        self._target = None

    def bind_again(self) -> None:
        """The tensors lie elsewhere than they did."""
        self._known.clear()
        self.forget()

    def sort(self, target: Target, assign: Assign) -> None:
        """Assign rules and keys anew. A tensor without a gradient stays where it most likely
        belongs, with no row of scalars."""
        self._target = None
        rules, keys = assign(target.kinds)
        members: dict[tuple[Rule, str, str], list[int]] = {}
        for i, (tensor, kind) in enumerate(zip(self._tensors, target.kinds, strict=True)):
            members.setdefault((rules[i], tensor.dtype, kind or tensor.dtype), []).append(i)
        buckets = []
        for key, indices in members.items():
            stepping = [i for i in indices if target.kinds[i] is not None]
            if not stepping:
                continue
            bucket = self._known.get(key)
            if bucket is None or bucket.members != indices:
                bucket = self._known[key] = self._new(key, indices)
            distinct = {id(keys[i]): keys[i] for i in stepping}
            row = {identity: k for k, identity in enumerate(distinct)}
            bucket.set_keys(
                list(distinct.values()),
                [-1 if target.kinds[i] is None else row[id(keys[i])] for i in indices],
            )
            buckets.append(bucket)
        self._buckets = buckets
        self._point(target)

    def _point(self, target: Target) -> None:
        for bucket in self._buckets:
            bucket.point_at(target.addresses)
        self._target = target

    def _new(self, key: tuple[Rule, str, str], indices: list[int]) -> Bucket:
        rule, param_dtype, grad_dtype = key
        launch = self._backend.launch(rule, scalar_names(rule), param_dtype, grad_dtype)
        dtype = COMPUTE_DTYPE[param_dtype]
        return Bucket(self._backend, rule, launch, indices, self._tensors, dtype)
