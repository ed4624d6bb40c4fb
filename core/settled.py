"""Attributes that are known late, where a device decides what becomes of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, overload

if TYPE_CHECKING:
    from .optimizer import Optimizer

T = TypeVar("T")


class Settled(Generic[T]):
    """An attribute of an optimizer that is known once its last step is settled; reading it asks."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    @overload
    def __get__(self, optimizer: None, owner: type) -> Settled[T]: ...
    @overload
    def __get__(self, optimizer: Optimizer, owner: type) -> T: ...
    def __get__(self, optimizer: Optimizer | None, owner: type) -> Settled[T] | T:
        if optimizer is None:
            return self
        optimizer._settle()
        found: T = getattr(optimizer, self._name)
        return found

    def __set__(self, optimizer: Optimizer, value: T) -> None:
        setattr(optimizer, self._name, value)
