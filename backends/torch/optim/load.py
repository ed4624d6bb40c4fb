"""The content of a state dict, torch's own or of any backend, checked before anything changes."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ....checkpoint.fitted import fitted
from ....checkpoint.recoded import recoded
from ....checkpoint.state_dict import OWN, SETTINGS, STRUCTURE
from ....checkpoint.torch_layout import layout_of, read_entry
from ....language.around import STRUCTURAL, is_of_parts
from ....language.blockwise import scales_of
from ....language.codecs import checked_state_dtype
from ....language.rule import Rule
from ....rules import registry
from ....step.settings import Settings
from ...torch_tensors.view import as_numpy, as_tensor, check_shaped
from .groups import Groups, all_numbers, all_slots, rules_of
from .shards import check_placement, local, placed

# what a state dict of `samestep.Optimizer` has of it as a whole, and its value where it does
# nothing
NEUTRAL: dict[str, Any] = {
    **{name: getattr(Settings(), name) for name in (*SETTINGS, "loss_scaler")},
    "micro_steps": 0,
}
# how steps are computed and states are stored
OF_OUR_OWN = ("foreach", "fused", "capturable", "differentiable", *STRUCTURE)


def in_own_order(
    rules: Sequence[Rule], groups: Sequence[dict[str, Any]], snapshot: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the snapshot with each group's parameters in the order of ours, by their names where
    both have names. Raises TypeError or ValueError for one of other rules or of other groups."""
    sizes = [len(group["params"]) for group in groups]
    names = [group.get("param_names") for group in groups]
    return fitted(snapshot, rules, sizes, names)


def loaded_groups(
    groups: Sequence[dict[str, Any]], snapshot: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the parameter groups with the snapshot's hyperparameters, and whatever else is in
    them; our own where the snapshot has none. How steps are computed and states are stored is not
    taken over.

    Raises ValueError for a snapshot with settings that only `samestep.Optimizer` has.
    """
    unusable = [name for name, value in NEUTRAL.items() if snapshot.get(name, value) != value]
    result = []
    for own, saved in zip(groups, snapshot["param_groups"], strict=True):
        unusable += [name for name in ("frozen", "weight_decay_mask") if saved.get(name)]
        kept = {name: own[name] for name in ("params", *OF_OUR_OWN) if name in own}
        theirs = {name: value for name, value in saved.items() if name not in OWN}
        result.append({**own, **copy.deepcopy(theirs), **kept})
    if unusable:
        raise ValueError(
            f"the state dict was taken with {', '.join(unusable)}, which only samestep.Optimizer has"
        )
    return result


def loaded_state(
    rules: Sequence[Rule], groups: Groups, snapshot: Mapping[str, Any]
) -> defaultdict[Any, Any]:
    """Return the snapshot's state by parameter, with copies of the arrays on the parameter's
    device. What others keep there, such as the slow weights of a Lookahead, is copied with it;
    under any name that is none of the rule's, if the snapshot is of an optimizer of ours with this
    rule.

    Raises TypeError or ValueError for other entries than the rule has, if they are another rule's.
    """
    keys = [key for group in snapshot["param_groups"] for key in group["params"]]
    saved = snapshot["state"]
    of_parts = {name for entry in saved.values() for name in entry if is_of_parts(name)}
    of_any = frozenset(of_parts).union(*map(_names_of_rules, {*rules}))
    names = [
        _names_of_variants(rule) | (of_parts if _has_parts(own, theirs) else set())
        if _is_of(rule, theirs)
        else of_any
        for rule, own, theirs in zip(rules, groups, snapshot["param_groups"], strict=True)
    ]
    slots = {
        key: slot._replace(
            entry={n: v for n, v in saved.get(key, {}).items() if n in names[slot.group]}
        )
        for key, slot in zip(keys, all_slots(groups, {}), strict=True)
    }
    held = [slot for slot in slots.values() if slot.entry]
    for slot in held:
        check_shaped(slot.name, slot.param)
    variants = rules_of(rules, all_numbers(rules, groups), held)
    state: defaultdict[Any, Any] = defaultdict(dict)
    for key, entry in saved.items():
        if key not in slots:  # as torch: not of a parameter, so it is none of our business
            state[key] = copy.deepcopy(entry)
            continue
        param, name, k, own = slots[key]
        where = f"state dict, {name}: "
        others = {n: _theirs(value, param) for n, value in entry.items() if n not in names[k]}
        variant = variants[k].for_shape(tuple(param.shape))
        saved_dtype = snapshot["param_groups"][k].get("state_dtype")
        as_saved = variant.stored_as(checked_state_dtype(saved_dtype, where))
        found = read_entry(as_saved, own, where)
        if found is not None:
            step, carry, arrays = found
            part = tuple(local(param).shape)  # of a DTensor in this process
            on_host = functools.partial(_on_host, f"{where}a state", param)
            stored = recoded(arrays, as_saved, variant, part, on_host, where)
            copies = {name: _copied(array, param, where + name) for name, array in stored.items()}
            copies |= {  # what is recoded is the part in this process
                name: placed(name, copies[name], param, variant)
                for name, array in stored.items()
                if array is not arrays.get(name)
            }
            state[param] = {"step": step, **carry, **copies, **others}
        elif others:
            state[param] = others
    return state


def _is_of(rule: Rule, saved: Mapping[str, Any]) -> bool:
    """Say whether a group was saved by an optimizer of ours with this rule, so that what else is in
    its state is somebody else's: it has the hyperparameters of the rule, and of no other."""
    known = {*rule.known_hyperparameters}
    return {*saved} & (_hyperparameters() | known) == known


@functools.cache
def _hyperparameters() -> frozenset[str]:
    """Return the names of all hyperparameters of built-in rules, with those that all rules have."""
    return frozenset().union(*(rule.known_hyperparameters for rule in registry.values()))


def _has_parts(*groups: Mapping[str, Any]) -> bool:
    """Say whether one of these groups asks for a part around its rule, which keeps states."""
    return any(group.get(name) for group in groups for name in STRUCTURAL)


@functools.cache
def _names_of_rules(rule: Rule) -> frozenset[str]:
    """Return the names under which this rule or any built-in one keeps state. One of another rule
    is a sign that the state dict is of another optimizer."""
    return frozenset().union(*map(_names_of_variants, (rule, *registry.values())))


@functools.cache
def _names_of_variants(rule: Rule) -> frozenset[str]:
    """Return the names under which this rule keeps state, with whatever options."""
    variants = list(_variants(rule))
    scales = [scales_of(name) for each in variants for name in each.state]
    names = ((*each.state, *each.carry, *layout_of(each).scalars) for each in variants)
    return frozenset(["step", *scales]).union(*names)


def _variants(rule: Rule) -> Iterator[Rule]:
    """Yield the rule, and its variants with one structural option chosen otherwise."""
    yield rule
    for name, on in rule.options.items():
        for other in rule.choices.get(name, (not on,)):
            with contextlib.suppress(ValueError):  # some go with others only
                yield rule.variant(**{**rule.options, name: other})


def _theirs(value: Any, param: torch.Tensor) -> Any:
    """Return a copy of what is not ours, with tensors on the parameter's device as torch has
    them."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(param.device, copy=True).requires_grad_(value.requires_grad)
    if type(value) is dict:
        return {name: _theirs(each, param) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_theirs(each, param) for each in value)
    return copy.deepcopy(value)


def _on_host(what: str, param: torch.Tensor, array: Any) -> Any:
    """Return a tensor or an array, or the part of it in this process, as a NumPy array."""
    check_placement(what, array, param)
    array = local(array)
    return as_numpy(array.detach().cpu()) if isinstance(array, torch.Tensor) else np.asarray(array)


def _copied(array: Any, param: torch.Tensor, where: str) -> torch.Tensor:
    if isinstance(array, np.ndarray):
        array = as_tensor(np.array(array))
    if not isinstance(array, torch.Tensor):
        raise TypeError(f"{where} is a {type(array).__name__}; expected a tensor or an array")
    return array.detach().to(param.device).clone(memory_format=torch.contiguous_format)
