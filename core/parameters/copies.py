"""Copies of parameters in 16 bits: arrays of the caller's, written by the step that writes the
parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..language.around import CHOICES, COPY
from ..language.dtypes import named
from ..pages import see
from ..protocol import Backend, Tensor
from .by_name import Division
from .contents import Contents
from .trees import Spec, flatten_like, listed


def copies_of_groups(
    copy_to: Any, count: int, single: bool, division: Division | None
) -> Sequence[Any]:
    """Return the arrays of each of ``count`` groups, in the structure of its parameters; None for a
    group without. Raises TypeError or ValueError for another structure."""
    copy_to = listed(copy_to)
    if copy_to is None:
        return [None] * count
    if isinstance(named(copy_to), str):
        raise TypeError(
            f"copy_to is {copy_to!r}; expected the arrays that a step writes into, in the structure of the "
            f"parameters{see('explain/half.md')}"
        )
    if division is not None:
        return division.split(list(flatten_like(division.spec, copy_to, "copy_to")))
    if single:
        return [copy_to]
    if not isinstance(copy_to, (list, tuple)) or len(copy_to) != count:
        raise ValueError(
            f"copy_to must be a list with an entry for each of {count} groups, None for one without; "
            f"or give each group a 'copy_to' of its own{see('explain/half.md')}"
        )
    return copy_to


def adopt_copies(
    backend: Backend, copy_to: Any, spec: Spec, tensors: Sequence[Tensor], where: str
) -> list[Tensor]:
    """Return the arrays of a group as its backend sees them; nothing for a group without.

    Raises TypeError or ValueError for arrays that no backend updates, of another structure, shape
    or dtype, or that are not contiguous.
    """
    if copy_to is None:
        return []
    leaves = list(flatten_like(spec, copy_to, f"{where}copy_to"))
    names = [f"copy_to of {tensor.name}" for tensor in tensors]
    copies = [backend.adopt(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
    return checked_copies(copies, tensors)


def checked_copies(copies: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the copies of these parameters. Raises TypeError or ValueError for one of another
    shape or dtype, or that is not contiguous."""
    for copy, tensor in zip(copies, tensors, strict=True):
        if copy.shape != tensor.shape:
            raise ValueError(f"{copy.name} has shape {copy.shape}; expected {tensor.shape}")
        if copy.dtype not in CHOICES["copy_to"] or copy.dtype != copies[0].dtype:
            raise TypeError(
                f"{copy.name} has dtype {copy.dtype}; expected {' or '.join(CHOICES['copy_to'])}, "
                "the same for all parameters of a group"
            )
        if copy.staged:
            raise ValueError(
                f"{copy.name} is not contiguous, or not aligned; a step writes it where it lies "
                "(a copy in C's order is contiguous)"
            )
    return list(copies)


class SameCopies:
    """Notices that other arrays stand in the places of copies, in the structures that were passed:
    nothing would write into them."""

    def __init__(self) -> None:
        self._seen: list[tuple[Any, Contents]] = []

    def watch(self, copy_to: Any) -> None:
        """Take note of what a structure has now; None is nothing."""
        if copy_to is not None:
            self._seen.append((copy_to, Contents(copy_to)))

    def check(self) -> None:
        """Raise ValueError if one has other arrays."""
        for copy_to, contents in self._seen:
            if not contents.same(copy_to):
                raise ValueError(
                    "copy_to has another array in the place of one that was given, into which steps write; write "
                    f"into that one (array[...] = values), or make a new optimizer{see('in_place.md')}"
                )


def refresh_copies(backend: Backend, tensors: Sequence[Tensor]) -> None:
    """Write the parameters into their copies, rounded."""
    copied = [(tensor, tensor.copied_to) for tensor in tensors if tensor.copied_to is not None]
    for tensor, copy in copied:
        backend.copy_into(copy.owner, tensor.array)
    if copied:
        backend.change_marker([copy for _, copy in copied])()


def kept_state(tensor: Tensor) -> dict[str, Any]:
    """Return a parameter's state but for its copy, which is the caller's."""
    if tensor.copied_to is None:
        return tensor.state
    return {name: array for name, array in tensor.state.items() if name != COPY}


def with_copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return parameters, and behind them their copies."""
    return [*tensors, *(t.copied_to for t in tensors if t.copied_to is not None)]
