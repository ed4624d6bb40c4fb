"""Names by which parameters are known: ``group[0]['layers'][1]`` in a file, ``layers.1`` in a state
dict, as in torch's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..pages import see
from ..parameters.trees import flatten
from ..protocol import Tensor


def parameter_names(tensors: Sequence[Tensor]) -> list[str]:
    """Return a name for each parameter; one group alone is called ``params`` elsewhere."""
    return [re.sub("^params", "group[0]", tensor.name) for tensor in tensors]


def group_by_name(
    group: Mapping[str, Any], names: Sequence[str] | None, where: str
) -> Mapping[str, Any]:
    """Return a group of a state dict with its parameters in the order of ``names``; as it is where
    it has no names or ``names`` is None, so that places count.

    Raises TypeError or ValueError, beginning with ``where``, where it has other names.
    """
    saved = group.get("param_names")
    if names is None or saved is None or saved == names:
        return group
    if not isinstance(saved, (list, tuple)) or not all(isinstance(name, str) for name in saved):
        raise TypeError(f"{where}param_names must be a list of strings, not {saved!r:.80}")
    if len(saved) != len(group["params"]):
        raise ValueError(f"{where}{len(saved)} param_names for {len(group['params'])} params")
    place = {name: i for i, name in enumerate(saved)}
    if len(place) < len(saved) or len(saved) != len(names) or place.keys() != set(names):
        raise ValueError(
            f"{where}has parameters of other names than the optimizer; {differences(saved, names)}; "
            f"rename them in 'param_names', or delete that to go by position{see('checkpoints.md')}"
        )
    order = [place[name] for name in names]
    listed = [key for key in ("params", "weight_decay_mask") if group.get(key) is not None]
    sorted_lists = {key: [group[key][i] for i in order] for key in listed}
    return {**group, **sorted_lists, "param_names": list(names)}


def differences(saved: Sequence[str], given: Sequence[str]) -> str:
    """Say for a message which names only one of the two has."""
    known, own = set(saved), set(given)
    return (
        f"only saved: {some([name for name in saved if name not in own])}; "
        f"only given: {some([name for name in given if name not in known])}"
    )


def in_order(
    groups: Sequence[Any],
    names: Sequence[str],
    remedy: str = "strict=False takes those that it has",
) -> list[Any]:
    """The groups, their dicts' entries in the order that gives ``names``. ``remedy`` is what helps
    whoever has others.

    Raises
    ------
    ValueError
        If they have other names.
    """
    given = [name for k, g in enumerate(groups) for name in flatten(g, f"group[{k}]")[1]]
    position = {name: i for i, name in enumerate(names)}
    for k, group in enumerate(groups):
        saved, here = f"group[{k}]" in position, not isinstance(group, (Mapping, list, tuple))
        if saved != here:
            was = "an array" if saved else "a list or dict of arrays"
            raise ValueError(
                f"has other parameters than were given; saved was {was}, given {_described(group)}; "
                f"give them as they were{see('checkpoints.md')}"
            )
    if position.keys() != set(given):
        raise ValueError(
            f"has other parameters than were given; {differences(names, given)}; "
            f"{remedy}{see('checkpoints.md')}"
        )
    return [_sorted(group, f"group[{k}]", position) for k, group in enumerate(groups)]


def _described(params: Any) -> str:
    """Say what kind of parameters these are: an array, or a list or dict of so many."""
    if not isinstance(params, (Mapping, list, tuple)):
        return "an array"
    kind, count = "dict" if isinstance(params, Mapping) else "list", len(params)
    return f"a {kind} with {count} {'entry' if count == 1 else 'entries'}"


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
