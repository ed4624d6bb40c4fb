"""Attributes of an optimizer that do more than hold a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

if TYPE_CHECKING:
    from .optimizer import Optimizer

T = TypeVar("T")


class Attribute(Generic[T]):
    """What both kinds share: types, and where the name is kept."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, optimizer: None, owner: type) -> Attribute[T]: ...
    @overload
    def __get__(self, optimizer: Optimizer, owner: type) -> T: ...
    def __get__(self, optimizer: Optimizer | None, owner: type) -> Attribute[T] | T:
        if optimizer is None:
            return self
        found: T = self._read(optimizer)
        return found

    def __set__(self, optimizer: Optimizer, value: T) -> None:
        raise NotImplementedError

    def _read(self, optimizer: Optimizer) -> Any:
        raise NotImplementedError


class Settled(Attribute[T]):
    """Known late, where a device decides what becomes of a step; reading it asks. Its value is in
    the slot of the same name with an underscore."""

    def _read(self, optimizer: Optimizer) -> Any:
        optimizer._settle()
        return getattr(optimizer, f"_{self._name}")

    def __set__(self, optimizer: Optimizer, value: T) -> None:
        setattr(optimizer, f"_{self._name}", value)


class Setting(Attribute[T]):
    """One of the optimizer's `Settings`, which the next step looks at again after it was set."""

    def _read(self, optimizer: Optimizer) -> Any:
        return getattr(optimizer._wanted, self._name)

    def __set__(self, optimizer: Optimizer, value: T) -> None:
        setattr(optimizer._wanted, self._name, value)
        optimizer._settings_or_none = None


class OfGroups:
    """A hyperparameter, which an optimizer does not have: its groups do."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimizer: Optimizer | None, owner: type) -> NoReturn:
        raise AttributeError(f"{self._name} belongs to a group: param_groups[0][{self._name!r}]")

    def __set__(self, optimizer: Optimizer, value: object) -> None:
        self.__get__(optimizer, type(optimizer))
