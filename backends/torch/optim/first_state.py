"""A parameter of a torch optimizer takes its first step from an entry of ``state`` that is made
here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ....language.around import COPY
from ....language.rule import Rule
from ....language.text_checks import check
from ....parameters.hyper import GroupHyper
from ....parameters.products import check_products
from ...launching.initial_state import check_parameter
from ...torch_tensors.view import kind_of
from .backends import Backends
from .groups import Slot, device_of, rules_of
from .shards import check_rule, local, placed

Entries = dict[torch.Tensor, dict[str, Any]]


def adopted(backends: Backends, slot: Slot, rule: Rule, numbers: dict[str, Any]) -> Any:
    """Return a parameter as the backend adopts it; raise TypeError or ValueError for one that
    cannot be stepped by the rule."""
    tensor = backends.of(slot.param).adopt(slot.name, local(slot.param))
    check_rule(slot.name, slot.param, rule, GroupHyper(numbers).clips)
    shaped = rule.for_shape(tensor.shape)
    check(shaped)
    check_parameter(tensor, shaped)
    check_products(backends.of(slot.param), shaped, f"{slot.name}: ")
    return tensor


def check_slots(
    backends: Backends, rule: Rule, numbers: dict[str, Any], slots: Sequence[Slot]
) -> None:
    """Raise TypeError or ValueError for parameters that the rule cannot step together."""
    check(rule)
    of_device: dict[torch.device, list[Slot]] = {}
    for slot in slots:
        of_device.setdefault(device_of(slot.param), []).append(slot)
    for here in of_device.values():
        tensors = [adopted(backends, slot, rule, numbers) for slot in here]
        backends.of(here[0].param).check_overlap(tensors)


def first_entries(
    backends: Backends,
    rules: Sequence[Rule],
    numbers: list[dict[str, Any]],
    slots: list[Slot],
    positions: Sequence[int],
) -> Entries:
    """Return entries of ``state`` from which the parameters at these positions that have none take
    their first step. ``slots`` are the places of all, ``rules`` and ``numbers`` the rule and the
    hyperparameters of each group."""
    variants = rules_of(rules, numbers, [slot for slot in slots if slot.has_state])
    return {
        slot.param: first_entry(backends, slot, variants[slot.group], numbers[slot.group])
        for slot in (slots[i] for i in positions)
        if not slot.has_state
    }


def first_entry(
    backends: Backends, slot: Slot, rule: Rule, numbers: dict[str, Any]
) -> dict[str, Any]:
    """Return the entry of a parameter before its first step, beside what others keep there.

    Raises TypeError for a backend whose states are no tensors.
    """
    tensor = adopted(backends, slot, rule, numbers)
    rule = rule.for_shape(tensor.shape)
    counts = {"step": 0.0, **rule.carry}
    own_copy = COPY if rule.around.get("copy_to") is not None else None  # of the caller's
    backend = backends.of(slot.param)
    arrays = backend.new_state(tensor, rule, numbers)
    for name, array in arrays.items():
        if not isinstance(array, torch.Tensor):
            raise TypeError(
                f"backend {backend.name!r} has the state {name} of {tensor.name} as a "
                f'{kind_of(array)}; expected a tensor ("torch:fused" runs the same kernels)'
            )
    return {
        **slot.entry,
        **{n: torch.tensor(value, dtype=torch.float64) for n, value in counts.items()},
        **{n: placed(n, array, slot.param, rule) for n, array in arrays.items() if n != own_copy},
    }
