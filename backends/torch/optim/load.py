"""The content of a state dict, torch's own or of any backend, checked before anything changes."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from ....checkpoint.state_dict import OWN, fitted
from ....checkpoint.torch_layout import read_entry
from ....language.rule import Rule
from ....step.settings import Settings
from ...torch_tensors.view import as_tensor
from .groups import Groups, all_numbers, all_slots, rules_of

# what `samestep.Optimizer` has as a whole, and its value where it does nothing
NEUTRAL: dict[str, Any] = {**asdict(Settings()), "micro_steps": 0}
IMPLEMENTATION = ("foreach", "fused", "capturable", "differentiable")


def in_own_order(
    rule: Rule, groups: Sequence[dict[str, Any]], snapshot: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the snapshot with each group's parameters in the order of ours, by their names where
    both have names. Raises TypeError or ValueError for one of another rule or of other groups."""
    sizes = [len(group["params"]) for group in groups]
    return fitted(snapshot, rule, sizes, [group.get("param_names") for group in groups])


def loaded_groups(
    groups: Sequence[dict[str, Any]], snapshot: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the parameter groups with the snapshot's hyperparameters, and whatever else is in them; our
    own where the snapshot has none. How steps are computed is not taken over.

    Raises ValueError for a snapshot with settings that only `samestep.Optimizer` has.
    """
    unusable = [name for name, value in NEUTRAL.items() if snapshot.get(name, value) != value]
    result = []
    for own, saved in zip(groups, snapshot["param_groups"], strict=True):
        unusable += [name for name in ("frozen", "weight_decay_mask") if saved.get(name)]
        kept = {name: own[name] for name in ("params", *IMPLEMENTATION) if name in own}
        theirs = {name: value for name, value in saved.items() if name not in OWN}
        result.append({**own, **copy.deepcopy(theirs), **kept})
    if unusable:
        raise ValueError(
            f"the state dict was taken with {', '.join(unusable)}, which only samestep.Optimizer has"
        )
    return result


def loaded_state(rule: Rule, groups: Groups, snapshot: Mapping[str, Any]) -> defaultdict[Any, Any]:
    """Return the snapshot's state by parameter, with copies of the arrays on the parameter's device.

    Raises TypeError or ValueError for other entries than the rule has.
    """
    keys = [key for group in snapshot["param_groups"] for key in group["params"]]
    slots = {
        key: slot._replace(entry=snapshot["state"].get(key, {}))
        for key, slot in zip(keys, all_slots(groups, {}), strict=True)
    }
    held = [slot for slot in slots.values() if slot.entry]
    rules = rules_of(rule, all_numbers(rule, groups), held)
    state: defaultdict[Any, Any] = defaultdict(dict)
    for key, entry in snapshot["state"].items():
        if key not in slots:  # as torch: not of a parameter, so it is none of our business
            state[key] = entry
            continue
        param, name, k, _ = slots[key]
        where = f"state dict, {name}: "
        found = read_entry(rules[k].for_shape(tuple(param.shape)), entry, where)
        if found is not None:
            step, carry, arrays = found
            copies = {name: _copied(array, param, where + name) for name, array in arrays.items()}
            state[param] = {"step": step, **carry, **copies}
    return state


def _copied(array: Any, param: torch.Tensor, where: str) -> torch.Tensor:
    if isinstance(array, np.ndarray):
        array = as_tensor(np.array(array))
    if not isinstance(array, torch.Tensor):
        raise TypeError(f"{where} is a {type(array).__name__}; expected a tensor or an array")
    return array.detach().to(param.device).clone(memory_format=torch.contiguous_format)
