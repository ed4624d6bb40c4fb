"""A rule's function returns one value, or a tuple of them; here it is a tuple always."""

from __future__ import annotations

from typing import Any


def as_tuple(results: Any) -> tuple[Any, ...]:
    """Return the results as a tuple; a rule without state may return its only one as it is."""
    if isinstance(results, tuple):
        return results
    return (results,)
