"""Fits what a file holds to other parameters: what both have is taken, the rest stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..language.dtypes import dtype_of
from ..parameters.trees import flatten
from .parameter_names import in_order


class Loaded(NamedTuple):
    """Tells what a load took from a file, by the names of parameters: ``group[0]['w']``.

    ``taken``: parameters that have the file's values and state. ``skipped``: those of the file that
    were not taken, and why. ``missing``: those that were given and go on with the values they have,
    and a state of no steps.
    """

    taken: list[str]
    skipped: dict[str, str]
    missing: list[str]


def fit(tree: Mapping[str, Any], groups: Sequence[Any]) -> tuple[dict[str, Any], Loaded]:
    """Return the tree as if it had been saved with the parameters in ``groups``: entries of others
    are left out, and those of parameters that it does not have are empty, their value None."""
    given: dict[str, Any] = {}
    for k, group in enumerate(groups):
        leaves, names, _ = flatten(group, f"group[{k}]")
        given.update(zip(names, leaves, strict=True))
    skipped = {}
    for name, stored in tree["param"].items():
        if reason := _difference(stored, given[name]) if name in given else "was not given":
            skipped[name] = reason
    taken = [name for name in tree["names"] if name not in skipped]
    missing = [name for name in given if name not in tree["param"] or name in skipped]
    ordered = in_order(groups, [*taken, *missing])
    state = {name: entry for name, entry in tree["state"].items() if name not in skipped}
    names, new_groups = [], []
    for k, (group, saved) in enumerate(zip(ordered, tree["param_groups"], strict=True)):
        mine = flatten(group, f"group[{k}]")[1]
        new_groups.append(_group(saved, tree["names"], mine, len(names)))
        names += mine
    fitted = {
        **tree,
        "names": names,
        "param": {name: tree["param"][name] if name in state else None for name in names},
        "state": {name: state.get(name, {}) for name in names},
        "param_groups": new_groups,
        "accumulated": {n: a for n, a in tree["accumulated"].items() if n in state},
    }
    return fitted, Loaded(taken, skipped, missing)


def _difference(stored: Any, array: Any) -> str:
    """Say how an array that was given differs from the stored one; "" if it does not."""
    try:
        here = tuple(array.shape), dtype_of(array).name
    except (AttributeError, TypeError):
        return "is no array here"  # which the constructor refuses
    there = stored.shape, stored.dtype
    return "" if here == there else f"has shape {there[0]} and dtype {there[1]}; here {here}"


def _group(
    saved: Mapping[str, Any], names: Sequence[str], mine: Sequence[str], start: int
) -> dict[str, Any]:
    """Return a saved group with these parameters; those it does not have decay."""
    mask = saved["weight_decay_mask"]
    if mask is not None:
        of = dict(zip((names[place] for place in saved["params"]), mask, strict=True))
        mask = [of.get(name, True) for name in mine]
    places = list(range(start, start + len(mine)))
    return {**saved, "params": places, "weight_decay_mask": mask}
