"""Notices that a structure of parameters holds other arrays than it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..identities import identities, watched


class Contents:
    """The objects that a structure of lists, tuples and dicts holds; all of them have to stay
    alive."""

    def __init__(self, tree: Any) -> None:
        self._tree, written = tree, list(_changeable(tree))
        if len(written) == 1 and written[0] is tree:
            self._unchanged = watched(tree)
        else:
            seen = _held(written)
            self._unchanged = lambda: _held(written) == seen

    def same(self, tree: Any) -> bool:
        """Say whether this is the very structure, with the very objects in it."""
        return tree is self._tree and self._unchanged()


def _held(written: list[Any]) -> object:
    """Return the identities of all entries, and how many each list or dict has."""
    held: list[Any] = []
    for entries in written:
        held += entries
    return identities(held), list(map(len, written))


def _changeable(tree: Any) -> Iterator[Any]:
    """Yield the lists, and views of the dicts' values, that somebody may write into."""
    if isinstance(tree, Mapping):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        return
    if not isinstance(tree, tuple):
        yield tree
    for child in tree:
        yield from _changeable(child)
