"""The content of an optimizer's groups: parameters, hyperparameters, variants of a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.parameter import is_lazy

from ....language.hyperparameters import chosen_options
from ....language.rule import Rule
from ....parameters.entries import WHOLE, label, lost_entry
from ....parts.by_keyword import variant_of

Groups = list[dict[str, Any]]
# entries that groups of samestep.Optimizer have, what they are where they do nothing, and what
# helps here
ELSEWHERE = {
    "frozen": (False, "requires_grad_(False) freezes a parameter"),
    "weight_decay_mask": (None, "put what does not decay into a group with weight_decay=0"),
}
RULE = (
    "rule"  # the entry of a group that names its rule; without it the rule is the optimizer's own
)


class Slot(NamedTuple):
    """A parameter's place: the parameter, its name in messages, its group, its entry of
    ``state``."""

    param: torch.Tensor
    name: str
    group: int
    entry: dict[str, Any]

    @property
    def has_state(self) -> bool:
        """True if the parameter can go on from its state. Others may keep things there, too."""
        return "step" in self.entry


def slots_of(groups: Groups, k: int, state: Mapping[Any, Any]) -> list[Slot]:
    """Return the places of a group's parameters."""
    params = groups[k]["params"]
    prefix = "params" if len(groups) == 1 else f"group[{k}]"
    names = groups[k].get("param_names") or [f"{prefix}[{i}]" for i in range(len(params))]
    return [Slot(p, name, k, state.get(p, {})) for p, name in zip(params, names, strict=True)]


def check_entries(group: Mapping[str, Any], k: int) -> None:
    """Raise TypeError for an entry of the group at ``k`` that only `samestep.Optimizer` reads.
    Others are the user's own, as in torch."""
    for name, (nothing, remedy) in ELSEWHERE.items():
        if group.get(name, nothing) is not nothing:
            raise TypeError(
                f"{label(k, group)}nothing reads {name!r} here, which samestep.Optimizer does; {remedy}"
            )
    if found := [name for name in WHOLE if name in group]:
        raise TypeError(
            f"{label(k, group)}{found[0]} is no entry of a group: nothing would read it"
        )


def all_slots(groups: Groups, state: Mapping[Any, Any]) -> list[Slot]:
    """Return the places of all parameters, in order."""
    return [slot for k in range(len(groups)) for slot in slots_of(groups, k, state)]


def waits(param: torch.Tensor) -> bool:
    """Return True for a parameter that is not looked at before it has a gradient: one of a module
    that is frozen, of whatever dtype, or that a lazy module has not made yet."""
    frozen = isinstance(param, torch.nn.Parameter) and not param.requires_grad
    return is_lazy(param) or (frozen and param.grad is None)


def device_of(param: torch.Tensor) -> torch.device:
    """Return the device that the parameter is stepped on."""
    return param.device


def where(groups: Groups, k: int) -> str:
    """Return the beginning of a message about a group."""
    return "" if len(groups) == 1 else f"group {k}: "


def numbers_of(rule: Rule, groups: Groups, k: int) -> dict[str, Any]:
    """Return a group's hyperparameters, checked, with numbers in place of tensors. Raises what
    `Rule.hyperparameters` raises."""
    try:
        values = plain({n: groups[k][n] for n in rule.known_hyperparameters}, where(groups, k))
    except KeyError as error:
        raise lost_entry(error) from None
    return rule.hyperparameters(values, where(groups, k))


def all_numbers(rules: Sequence[Rule], groups: Groups) -> list[dict[str, Any]]:
    """Return the hyperparameters of all groups, whose ``rules`` these are, see `numbers_of`."""
    return [numbers_of(rule, groups, k) for k, rule in enumerate(rules)]


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
    rules: Sequence[Rule], numbers: list[dict[str, Any]], held: Sequence[Slot]
) -> list[Rule]:
    """Return the variant of each group's rule. ``held`` are the parameters that have state: an
    option that is also a number may have become zero, and its state is still there."""
    return [
        variant(rule, n, [slot for slot in held if slot.group == k])
        for k, (rule, n) in enumerate(zip(rules, numbers, strict=True))
    ]


def variant(rule: Rule, numbers: Mapping[str, Any], held: Sequence[Slot]) -> Rule:
    """Return the variant of a rule that a group asks for, see `rules_of`."""
    options = chosen_options(rule, numbers)
    for name, on in options.items():
        if held and not on and name in rule.defaults and name not in rule.choices:
            wider = variant_of(rule, numbers, {**options, name: True})
            needed = ((slot.entry, wider.for_shape(tuple(slot.param.shape)).state) for slot in held)
            if all(set(entry).issuperset(state) for entry, state in needed):
                return wider
    return variant_of(rule, numbers, options)
