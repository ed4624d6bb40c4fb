"""The content of a state dict, torch's own or of any backend, checked before anything changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ....checkpoint.state_dict import OWN, check_fit
from ....checkpoint.torch_layout import read_entry
from ....language.rule import Rule
from ...torch_tensors.view import as_tensor

# what `samestep.Optimizer` has as a whole, and its value where it does nothing
NEUTRAL: dict[str, Any] = {
    "clip_global_norm": None,
    "skip_nonfinite": False,
    "loss_scaler": None,
    "accumulation_steps": 1,
    "micro_steps": 0,
}
IMPLEMENTATION = ("foreach", "fused", "capturable", "differentiable")


def loaded_groups(
    rule: Rule, groups: Sequence[dict[str, Any]], snapshot: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the parameter groups with the snapshot's hyperparameters, and whatever else is in them; our
    own where the snapshot has none. How steps are computed is not taken over.

    Raises
    ------
    TypeError, ValueError
        For a snapshot of another rule or of other groups, or one with settings that only
        `samestep.Optimizer` has.
    """
    check_fit(snapshot, rule, [len(group["params"]) for group in groups])
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


def loaded_entry(
    rule: Rule, entry: Mapping[str, Any], param: torch.Tensor, where: str
) -> dict[str, Any] | None:
    """Return one parameter's state, with copies of the arrays on the parameter's device; None if it has
    not stepped. Raises TypeError or ValueError for other entries than the rule has."""
    found = read_entry(rule, entry, where)
    if found is None:
        return None
    step, carry, arrays = found
    copies = {name: _copied(array, param, where + name) for name, array in arrays.items()}
    return {"step": step, **carry, **copies}


def _copied(array: Any, param: torch.Tensor, where: str) -> torch.Tensor:
    if isinstance(array, np.ndarray):
        array = as_tensor(np.array(array))
    if not isinstance(array, torch.Tensor):
        raise TypeError(f"{where} is a {type(array).__name__}; expected a tensor or an array")
    return array.detach().to(param.device).clone(memory_format=torch.contiguous_format)
