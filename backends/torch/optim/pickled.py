"""A pickle or a copy of a torch optimizer has the ``state`` that is made here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ....checkpoint.torch_layout import layout_of
from ....language.around import CARRIED
from ....language.rule import Rule


def with_own_counts(state: Mapping[Any, Any], rules: Iterable[Rule]) -> defaultdict[Any, Any]:
    """Return the state with each step count as a tensor of its own: counts are views of one vector,
    which is not to be saved with each."""
    of_rules = [name for rule in rules for name in (*rule.carry, *layout_of(rule).scalars)]
    counts = {"step", *CARRIED, *of_rules}
    return defaultdict(dict, {key: _unshared(entry, counts) for key, entry in state.items()})


def _unshared(entry: Any, counts: set[str]) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {
        name: value.clone() if name in counts and isinstance(value, torch.Tensor) else value
        for name, value in entry.items()
    }
