"""Parameters and gradients in the memory of a device, which only PyTorch can see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...language.dtypes import gradient_dtypes
from ..gradients import CheckedGradients, real_dtypes
from ..tensor import AdoptedTensor
from ..torch_tensors.view import (
    check_parameter,
    check_plain,
    described,
    dtype_name,
    is_lazy,
    is_tensor,
    kind_of,
)

Tensor = torch.Tensor
DEVICES = ("cuda",)  # types of device whose arithmetic is that of IEEE 754
Span = tuple[int, int, int]  # the storage, and the bytes in it from the first on to the last


class DeviceTensor(AdoptedTensor):
    """A parameter on a device, seen as a tensor without history. One that is not contiguous is
    staged."""

    def __init__(self, name: str, owner: Tensor) -> None:
        self.name, self.owner = name, owner
        self.state = {}
        self.look_again()

    def look_again(self) -> None:
        """Find the owner's memory, which may be elsewhere than it was."""
        self._describe(self.owner.detach(), tuple(self.owner.shape), dtype_name(self.owner))
        self.staged = not self.owner.is_contiguous()
        self.flat = reals(contiguous(self.array))

    def flat_state(self, name: str) -> Tensor:
        return reals(self.state[name])

    def pull(self) -> None:
        if self.staged:
            self.flat.copy_(reals(contiguous(self.array)))

    def push(self) -> None:
        if self.staged:
            flat = self.flat.reshape(-1, 2) if self.complex else self.flat
            values = torch.view_as_complex(flat) if self.complex else flat
            self.array.copy_(values.reshape(self.shape))


def contiguous(tensor: Tensor) -> Tensor:
    """Return the tensor, or a contiguous copy."""
    if tensor.is_contiguous():
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def reals(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor as a vector; complex elements are two reals each."""
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return tensor.reshape(-1)


def check_device_parameter(name: str, tensor: Any) -> None:
    """Raise TypeError or ValueError for a tensor that cannot be updated on its device."""
    check_parameter(name, tensor)
    if tensor.device.type not in DEVICES:
        raise TypeError(
            f"{name} is a {described(tensor)}; expected one in host memory or on "
            f"{' or '.join(DEVICES)}"
        )
    if any(s == 0 and n > 1 for s, n in zip(tensor.stride(), tensor.shape, strict=True)):
        raise ValueError(f"{name} overlaps itself: one element stands for several")


def span(tensor: Tensor) -> Span:
    """Return where a tensor lies; all bytes from its first to its last element count as its own."""
    first = int(tensor.storage_offset())
    reach = sum(int((n - 1) * s) for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    size = tensor.element_size()
    return tensor.untyped_storage()._cdata, first * size, (first + reach + 1) * size


def overlapping(tensors: Sequence[Tensor]) -> tuple[int, int] | None:
    """Return the positions of two tensors that share memory, or None."""
    spans = sorted((*span(t), i) for i, t in enumerate(tensors) if t.numel())
    reach: tuple[int, int, int] = (0, 0, 0)  # storage, end and position of what reaches furthest
    for storage, low, high, i in spans:
        if storage == reach[0] and low < reach[1]:
            return min(i, reach[2]), max(i, reach[2])
        if storage != reach[0] or high > reach[1]:
            reach = (storage, high, i)
    return None


class DeviceChecker:
    """Checks gradients on a device against the parameters they belong to. It looks at all of them
    at every step: a thousand launches take longer."""

    def __init__(self, tensors: Sequence[DeviceTensor]) -> None:
        self.tensors, self.moved = tensors, False
        self._addresses = np.zeros(len(tensors), np.int64)  # which nothing here needs
        self._owners = self._where_owners_are()

    def _where_owners_are(self) -> list[Span]:
        return [span(t.owner) for t in self.tensors]

    def accept(self, leaves: list[Any]) -> CheckedGradients:
        """Check one gradient per tensor, or None. Raises TypeError or ValueError."""
        self.moved = self._follow() or self.moved
        arrays: list[Tensor | None] = []
        for leaf, tensor in zip(leaves, self.tensors, strict=True):
            if leaf is not None:
                self._check(leaf, tensor)
                leaf = leaf.detach()
                leaf = leaf.resolve_conj().resolve_neg() if is_lazy(leaf) else leaf
            arrays.append(None if leaf is None else contiguous(leaf))
        self._check_overlap(leaves)
        names = [None if leaf is None else dtype_name(leaf) for leaf in leaves]
        return CheckedGradients(arrays, real_dtypes(names), self._addresses)

    def _check(self, grad: Any, tensor: DeviceTensor) -> None:
        name = f"the gradient of {tensor.name}"
        where = tensor.owner.device
        if not is_tensor(grad):
            raise TypeError(f"{name} is a {kind_of(grad)}; expected a tensor on {where} or None")
        check_plain(name, grad)
        if grad.device != where:
            raise TypeError(f"{name} is a {described(grad)}; the parameter is on {where}")
        if tuple(grad.shape) != tensor.shape:
            raise ValueError(
                f"{name} has shape {tuple(grad.shape)}; the parameter has {tensor.shape}"
            )
        own = dtype_name(tensor.owner)
        expected = (own,) if tensor.complex else gradient_dtypes(tensor.dtype)
        if dtype_name(grad) not in expected:
            raise TypeError(
                f"{name} has dtype {dtype_name(grad)}; expected {' or '.join(expected)}, as the "
                f"parameter is {own}"
            )

    def _check_overlap(self, leaves: list[Any]) -> None:
        """Raise ValueError for a gradient that lies in a parameter or in state."""
        owned: dict[int, list[tuple[Span, DeviceTensor]]] = {}
        for tensor in self.tensors:
            for array in (tensor.owner, *tensor.state.values()):
                owned.setdefault(array.untyped_storage()._cdata, []).append((span(array), tensor))
        for leaf, owner in zip(leaves, self.tensors, strict=True):
            if leaf is None or not leaf.numel():
                continue
            storage, low, high = span(leaf)
            for (_, first, last), tensor in owned.get(storage, ()):
                if low < last and first < high:
                    raise ValueError(
                        f"the gradient of {owner.name} shares memory with "
                        f"{tensor.name} or its state"
                    )

    def _follow(self) -> bool:
        """Look up parameters that lie elsewhere than they did (``tensor.data = other``). Returns True if
        there are any."""
        now = self._where_owners_are()
        moved = [t for t, a, b in zip(self.tensors, now, self._owners, strict=True) if a != b]
        for tensor in moved:
            check_device_parameter(tensor.name, tensor.owner)
            own = dtype_name(tensor.owner)
            if tuple(tensor.owner.shape) != tensor.shape or own != dtype_name(tensor.array):
                raise ValueError(
                    f"{tensor.name} now has shape {tuple(tensor.owner.shape)} and dtype {own}; it "
                    f"had {tensor.shape} and {dtype_name(tensor.array)} when the optimizer was made"
                )
        for tensor in moved:
            tensor.look_again()
        self._owners = now
        return bool(moved)
