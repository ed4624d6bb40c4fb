"""Notices that a structure of parameters holds other arrays than it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..identities import identities


class Contents:
    """The objects that a structure of lists, tuples and dicts holds; all of them have to stay alive."""

    def __init__(self, tree: Any) -> None:
        self._tree, self._written = tree, list(_changeable(tree))
        self._is_one_list = len(self._written) == 1 and self._written[0] is tree
        self._seen = self._look()

    def same(self, tree: Any) -> bool:
        """Say whether this is the very structure, with the very objects in it."""
        return tree is self._tree and self._look() == self._seen

    def _look(self) -> object:
        """Return the identities of all entries, and how many each list or dict has."""
        if self._is_one_list:
            return identities(self._tree)
        held: list[Any] = []
        for entries in self._written:
            held += entries
        return identities(held), list(map(len, self._written))


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
