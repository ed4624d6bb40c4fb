"""Attributes of an optimizer that do more than hold a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar, overload

if TYPE_CHECKING:
    from .optimizer import Optimizer

T = TypeVar("T")


class Attribute(Generic[T]):
    """A value in the slot of the same name with an underscore."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    @overload
    def __get__(self, optimizer: None, owner: type) -> Attribute[T]: ...
    @overload
    def __get__(self, optimizer: Optimizer, owner: type) -> T: ...
    def __get__(self, optimizer: Optimizer | None, owner: type) -> Attribute[T] | T:
        if optimizer is None:
            return self
        self.before_reading(optimizer)
        found: T = getattr(optimizer, self._name)
        return found

    def __set__(self, optimizer: Optimizer, value: T) -> None:
        setattr(optimizer, self._name, value)

    def before_reading(self, optimizer: Optimizer) -> None:
        """What has to happen first."""


class Settled(Attribute[T]):
    """Known once the last step is settled, where a device decides what becomes of it."""

    def before_reading(self, optimizer: Optimizer) -> None:
        optimizer._settle()


class Setting(Attribute[T]):
    """Looked at again by the next step after it was set."""

    def __set__(self, optimizer: Optimizer, value: T) -> None:
        super().__set__(optimizer, value)
        optimizer._settings_or_none = None


class OfGroups:
    """A hyperparameter, which an optimizer does not have: its groups do."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimizer: Optimizer | None, owner: type) -> NoReturn:
        raise AttributeError(f"{self._name} belongs to a group: param_groups[0][{self._name!r}]")

    def __set__(self, optimizer: Optimizer, value: object) -> None:
        self.__get__(optimizer, type(optimizer))
