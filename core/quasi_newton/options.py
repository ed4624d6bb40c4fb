"""The options of L-BFGS, and what they may be."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..language.intervals import NONNEGATIVE, POSITIVE, checked_number, plain
from ..language.names import suggestion
from .line_search import LINE_SEARCHES

# each is twice as large as all parameters: a file or a slip must not ask for billions
MOST_PAIRS = 10_000


@dataclass
class Options:
    """The options of `samestep.LBFGS`, which documents them."""

    history: int = 10
    line_search: str | None = "strong_wolfe"
    lr: float = 1.0
    max_iter: int = 20
    max_evals: int | None = None
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9

    def check(self) -> None:
        """Raise TypeError or ValueError for an option that cannot be used."""
        for name in NAMES:
            setattr(self, name, plain(getattr(self, name)))
        _check_count("history", self.history, 1, MOST_PAIRS)
        _check_count("max_iter", self.max_iter, 0)
        if self.max_evals is not None:
            _check_count("max_evals", self.max_evals, 1)
        self.lr = checked_number("lr", self.lr, POSITIVE)
        for name in ("tolerance_grad", "tolerance_change"):
            setattr(self, name, checked_number(name, getattr(self, name), NONNEGATIVE))
        known = [*filter(None, LINE_SEARCHES)]
        if not isinstance(self.line_search, (str, type(None))) or (
            self.line_search not in LINE_SEARCHES
        ):
            hint = suggestion(str(self.line_search), known)
            raise ValueError(
                f"line_search={self.line_search!r}: no such line search; {hint}expected "
                f"{', '.join(map(repr, known))}, or None to take steps of length lr"
            )


NAMES = tuple(field.name for field in fields(Options))


def _check_count(name: str, value: Any, lowest: int, highest: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}, not {value}")
    if highest is not None and value > highest:
        raise ValueError(f"{name} must be at most {highest}, not {value}")
