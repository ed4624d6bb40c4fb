"""The base class of schedules, and how they are put together: products, and one after another."""

from __future__ import annotations

import math
import numbers
import reprlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, NoReturn, dataclass_transform

from ..language.keywords import known_keywords
from ..pages import see
from .arguments import Finite, check_whole, check_wholes, checks_of

MAX_DEPTH = 32  # products and sequences within each other
MAX_SIZE = 1_000  # schedules in one composition, itself included
PARTS = ("factors", "schedules")  # arguments that are schedules themselves


class Schedule:
    """A hyperparameter as a function of the step.

    ``schedule(step)`` is a finite float; ``step`` is the number of steps taken so far, so 0
    before the first. Beyond its end a schedule holds its last value. ``a * b`` and ``0.5 * a``
    are products, ``a.then(b, after=1000)`` is ``a`` for 1,000 steps and then ``b`` from its
    beginning. Numbers stand for constant schedules.

    Each kind is a frozen dataclass whose arguments are checked when it is made: TypeError for
    what is not a number (a whole number, a string) where one belongs, ValueError for one out of
    bounds, both naming the argument, what came and what was expected.
    """

    __array_ufunc__ = None  # a NumPy number times a schedule is the schedule's affair

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, check in checks_of(kind).items():
            value = check(f"{self.kind}: {name}", getattr(self, name))
            object.__setattr__(self, name, value)
        self._check_together()
        if self.depth > MAX_DEPTH:
            raise ValueError(
                f"{self.kind}: schedules may be nested {MAX_DEPTH} deep; these are deeper"
            )
        if self.size > MAX_SIZE:
            raise ValueError(f"{self.kind}: at most {MAX_SIZE} schedules in one, not {self.size}")

    def _check_together(self) -> None:
        """Raise ValueError if arguments that are right by themselves do not go together."""

    def _at(self, step: int) -> float:
        raise NotImplementedError

    def __call__(self, step: int) -> float:
        """Return the value at ``step``, a whole number from 0 to 2**53.

        Raises
        ------
        TypeError, ValueError
            For another step; ValueError also where the value is not a finite number, as that of
            an exponential growth is in the end.
        """
        step = check_whole("step", step, 0)
        try:
            value = self._at(step)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise ValueError(f"step {step}: the value of {self!r} is not finite")
        return value

    @property
    def kind(self) -> str:
        """The schedule's name in a program and in JSON."""
        return type(self).__name__

    @property
    def parts(self) -> tuple[Schedule, ...]:
        """The schedules that a product or sequence is made of; of others, none."""
        return next((getattr(self, name) for name in PARTS if hasattr(self, name)), ())

    @property
    def size(self) -> int:
        """The number of schedules in this one, itself included."""
        return 1 + sum(part.size for part in self.parts)

    @property
    def depth(self) -> int:
        """The number of schedules nested within each other, this one included."""
        return 1 + max((part.depth for part in self.parts), default=0)

    @known_keywords()
    def then(self, following: Schedule | float, after: int) -> Schedule:
        """This schedule for the first ``after`` steps, then ``following`` from its own step 0.

        torch's SequentialLR. ``a.then(b, after=10).then(c, after=30)`` counts from the beginning
        both times, so ``b`` gets 20 steps.
        """
        return sequence((self, following), (after,))  # type: ignore[arg-type]

    def __mul__(self, other: Schedule | float) -> Schedule:
        if not isinstance(other, (Schedule, numbers.Real)):
            return NotImplemented
        return product((self, other))

    def __rmul__(self, other: float) -> Schedule:
        if not isinstance(other, numbers.Real):
            return NotImplemented
        return product((other, self))

    def _refused(self, other: object) -> NoReturn:
        """Raise TypeError for an operator that schedules do not have."""
        raise TypeError(
            f"schedules can be multiplied, as in {self.kind}(...) * 0.5, or follow one another, as in "
            f"{self.kind}(...).then(other, after=100); not added, subtracted or divided"
            f"{see('howto/schedules.md')}"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __truediv__ = __rtruediv__ = _refused

    def to_json(self) -> dict[str, Any]:
        """Return all that describes the schedule, as plain JSON values.

        ``{"kind": "cosine", "base": 0.001, …}``; a composition has lists of such dicts. Python's
        json writes floats so that they are read back with the same bits.
        """
        plain = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind, **plain}

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Schedule:
        """Return the schedule whose `to_json` gave these values, schedules among them made
        already."""
        return cls(**arguments)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value.to_json() if hasattr(value, "to_json") else value


KINDS: dict[str, type[Schedule]] = {}  # by their names


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def kind(made: type[Schedule]) -> Any:
    """Make a class of schedules a frozen dataclass, which `from_json` knows by its name."""
    KINDS[made.__name__] = dataclass(frozen=True)(made)
    made.__init__ = known_keywords()(made.__init__)  # type: ignore[method-assign]
    return made


@kind
class constant(Schedule):
    """``value`` at every step.

    torch's ConstantLR, ``factor`` times the rate for ``total_iters`` steps and then all of it, is
    ``constant(factor * lr).then(constant(lr), after=total_iters)``.
    """

    value: Finite

    def _at(self, step: int) -> float:
        return self.value


def check_parts(name: str, value: Any) -> tuple[Schedule, ...]:
    """Check that these are two schedules or more; numbers become constant ones."""
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        raise TypeError(f"{name} must be two schedules or more, not {reprlib.repr(value)}")
    return tuple(_as_schedule(f"{name}[{i}]", part) for i, part in enumerate(value))


def _as_schedule(name: str, part: Any) -> Schedule:
    if isinstance(part, Schedule):
        return part
    if isinstance(part, bool) or not isinstance(part, numbers.Real):
        raise TypeError(f"{name} must be a schedule or a number, not {reprlib.repr(part)}")
    return constant(part)  # type: ignore[arg-type]


Parts = Annotated[tuple[Schedule, ...], check_parts]


@kind
class product(Schedule):
    """The product of its factors at each step, multiplied from left to right: ``a * b * c``.

    torch's ChainedScheduler, where its schedulers multiply the rate.
    """

    factors: Parts

    def _check_together(self) -> None:
        flat: list[Schedule] = []
        for factor in self.factors:
            flat += factor.factors if isinstance(factor, product) else (factor,)
        object.__setattr__(self, "factors", tuple(flat))

    def _at(self, step: int) -> float:
        return math.prod(factor._at(step) for factor in self.factors)

    def __repr__(self) -> str:
        return " * ".join(map(repr, self.factors))


@kind
class sequence(Schedule):
    """One schedule after another: the one of number i + 1 begins, with its own step 0, at
    ``milestones[i]``. Made by `Schedule.then`.

    At each milestone the value is the first of the new schedule, whatever the one before came to.
    """

    schedules: Parts
    milestones: Annotated[tuple[int, ...], partial(check_wholes, low=1)]

    def _check_together(self) -> None:
        first, *others = self.schedules
        if isinstance(first, sequence):
            object.__setattr__(self, "schedules", (*first.schedules, *others))
            object.__setattr__(self, "milestones", (*first.milestones, *self.milestones))
        if len(self.milestones) != len(self.schedules) - 1:
            raise ValueError(
                f"{self.kind}: {len(self.schedules)} schedules need {len(self.schedules) - 1} "
                f"milestones, not {len(self.milestones)}"
            )
        for before, after in pairwise(self.milestones):
            if after <= before:
                raise ValueError(
                    f"{self.kind}: what comes after {after} steps must come later than what comes "
                    f"after {before}"
                )

    def _at(self, step: int) -> float:
        i = bisect_right(self.milestones, step)
        return self.schedules[i]._at(step - self.milestones[i - 1] if i else step)

    def __repr__(self) -> str:
        first, *others = self.schedules
        text = f"({first!r})" if isinstance(first, product) else repr(first)
        for schedule, milestone in zip(others, self.milestones, strict=True):
            text += f".then({schedule!r}, after={milestone})"
        return text
