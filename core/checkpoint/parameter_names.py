"""Names by which a file knows parameters: ``group[0]['layers'][1]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..parameters.trees import flatten
from ..protocol import Tensor


def parameter_names(tensors: Sequence[Tensor]) -> list[str]:
    """Return a name for each parameter; one group alone is called ``params`` elsewhere."""
    return [re.sub("^params", "group[0]", tensor.name) for tensor in tensors]


def in_order(groups: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """The groups, their dicts' entries in the order that gives ``names``.

    Raises
    ------
    ValueError
        If they have other names.
    """
    given = [name for k, g in enumerate(groups) for name in flatten(g, f"group[{k}]")[1]]
    position = {name: i for i, name in enumerate(names)}
    if position.keys() != set(given):
        missing = [name for name in names if name not in set(given)]
        left_over = [name for name in given if name not in position]
        raise ValueError(
            "has other parameters than were given; "
            f"only saved: {some(missing)}; only given: {some(left_over)}"
        )
    return [_sorted(group, f"group[{k}]", position) for k, group in enumerate(groups)]


def some(names: Sequence[str]) -> str:
    """The first few of them, for a message."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "none") + more


def _sorted(tree: Any, name: str, position: Mapping[str, int]) -> Any:
    def first(item: tuple[Any, Any]) -> int:
        below = flatten(item[1], f"{name}[{item[0]!r}]")[1]
        return position[below[0]] if below else -1

    if isinstance(tree, Mapping):
        items = sorted(tree.items(), key=first)
        return {key: _sorted(child, f"{name}[{key!r}]", position) for key, child in items}
    if isinstance(tree, (list, tuple)):
        return [_sorted(child, f"{name}[{i!r}]", position) for i, child in enumerate(tree)]
    return tree
