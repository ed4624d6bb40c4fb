"""The content of an optimizer's groups: parameters, hyperparameters, variants of a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch

from ....language.rule import Rule

Groups = list[dict[str, Any]]


class Slot(NamedTuple):
    """A parameter's place: the parameter, its name in messages, its group."""

    param: torch.Tensor
    name: str
    group: int


def slots_of(groups: Groups, k: int) -> list[Slot]:
    """Return the places of a group's parameters."""
    params = groups[k]["params"]
    prefix = "params" if len(groups) == 1 else f"group[{k}]"
    names = groups[k].get("param_names") or [f"{prefix}[{i}]" for i in range(len(params))]
    return [Slot(param, name, k) for param, name in zip(params, names, strict=True)]


def all_slots(groups: Groups) -> list[Slot]:
    """Return the places of all parameters, in order."""
    return [slot for k in range(len(groups)) for slot in slots_of(groups, k)]


def where(groups: Groups, k: int) -> str:
    """Return the beginning of a message about a group."""
    return "" if len(groups) == 1 else f"group {k}: "


def values_of(rule: Rule, groups: Groups, k: int) -> dict[str, Any]:
    """Return a group's hyperparameters as they are, but tensors as numbers."""
    try:
        return plain({n: groups[k][n] for n in rule.known_hyperparameters}, where(groups, k))
    except KeyError as error:
        raise ValueError(f"a group in param_groups has lost its entry {error}") from None


def numbers_of(rule: Rule, groups: Groups) -> list[dict[str, Any]]:
    """Return the hyperparameters of all groups, checked. Raises what `Rule.hyperparameters` raises."""
    return [
        rule.hyperparameters(values_of(rule, groups, k), where(groups, k))
        for k in range(len(groups))
    ]


def plain(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return hyperparameters with numbers in place of tensors, and tuples in place of lists."""
    return {name: _plain(value, where + name) for name, value in values.items()}


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            shape = tuple(value.shape)
            raise ValueError(f"Tensor {name} must be 1-element, but it has shape {shape}")
        return value.item()
    if isinstance(value, (tuple, list)):
        return tuple(_plain(v, f"{name}[{i}]") for i, v in enumerate(value))
    return value


def rules_of(
    rule: Rule, numbers: list[dict[str, Any]], held: Iterable[tuple[Slot, Mapping[str, Any]]]
) -> list[Rule]:
    """Return each group's variant of the rule. ``held`` are the parameters that have state, with it: an
    option that is also a number may have become zero, and its state is still there."""
    states: list[list[tuple[tuple[int, ...], set[str]]]] = [[] for _ in numbers]
    for slot, entry in held:
        states[slot.group].append((tuple(slot.param.shape), set(entry)))
    return [_variant(rule, n, found) for n, found in zip(numbers, states, strict=True)]


def _variant(
    rule: Rule, numbers: Mapping[str, Any], held: list[tuple[tuple[int, ...], set[str]]]
) -> Rule:
    options = rule.chosen_options(numbers)
    for name, on in options.items():
        if held and not on and name in rule.defaults:
            wider = rule.variant(**{**options, name: True})
            if all(names.issuperset(wider.for_shape(shape).state) for shape, names in held):
                return wider
    return rule.variant(**options)
