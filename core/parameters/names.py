"""Names of parameters in dicts: the keys that lead to them with points between,
``layers.1.weight``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .trees import Spec


def dotted_names(spec: Spec, written_out: Sequence[str]) -> list[str] | None:
    """Return the names of the parameters of a structure; None where there is no dict in its
    ``spec``: parameters of lists have places, not names. ``written_out`` are the names to use where
    two keys with dots in them would give one name twice."""
    if not _has_keys(spec):
        return None
    names = [".".join(map(str, path)) for path in _paths(spec)]
    return names if len(set(names)) == len(names) else list(written_out)


def _has_keys(spec: Spec) -> bool:
    return spec is not None and (spec[0] == "dict" or any(_has_keys(c) for _, c in spec[1]))


def _paths(spec: Spec, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to each parameter."""
    if spec is None:
        yield above
        return
    for key, child in spec[1]:
        yield from _paths(child, (*above, key))
