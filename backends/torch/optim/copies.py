"""Copies in 16 bits of a torch optimizer's parameters: tensors of the caller's, which its steps
write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from ....interrupts import held
from ....language.rule import Rule
from ....parameters.copies import checked_copies
from ....protocol import Backend, Tensor
from .backends import Backends
from .groups import Slot, waits
from .shards import check_placement, local

Copies = Mapping[torch.Tensor, torch.Tensor]  # parameter to its copy


def tensors_of(copy_to: Any, slots: Sequence[Slot], where: str) -> dict[torch.Tensor, torch.Tensor]:
    """Return the copy of each parameter of a group, whose places are ``slots``; ``copy_to`` has
    them in the order of the parameters, or is None. Raises TypeError or ValueError for anything
    else."""
    if copy_to is None:
        return {}
    if isinstance(copy_to, (str, Mapping)) or not isinstance(copy_to, Iterable):
        raise TypeError(
            f"{where}copy_to is a {type(copy_to).__name__}; expected tensors of bfloat16 or float16, "
            "in the order of the parameters"
        )
    copies = [copy_to] if isinstance(copy_to, torch.Tensor) else list(copy_to)
    if len(copies) != len(slots):
        raise ValueError(
            f"{where}copy_to has {len(copies)} tensors; the group has {len(slots)} parameters"
        )
    for slot, copy in zip(slots, copies, strict=True):
        if not isinstance(copy, torch.Tensor):
            raise TypeError(
                f"copy_to of {slot.name} is a {type(copy).__name__}; expected a tensor of bfloat16 "
                "or float16"
            )
        if is_lazy(slot.param):
            raise ValueError(
                f"{slot.name} has no shape yet that a copy could have: run its lazy module once first"
            )
    return {slot.param: copy for slot, copy in zip(slots, copies, strict=True)}


def dtype_of_copies(
    backends: Backends, slots: Sequence[Slot], k: int, copies: Copies
) -> str | None:
    """Return the dtype of the copies of group ``k``; None if it has none. ``slots`` are the places
    of all parameters, ``copies`` those of all groups.

    Raises TypeError or ValueError for copies of another shape, dtype or device than they may have,
    or that share memory with others.
    """
    if not any(slot.group == k and slot.param in copies for slot in slots):
        return None
    of_backend: dict[Backend, list[Tensor]] = {}
    of_group: list[tuple[Tensor, Tensor]] = []
    for slot in slots:
        if slot.param not in copies and waits(slot.param):
            continue
        backend = backends.of(slot.param)
        tensor = backend.adopt(slot.name, local(slot.param))
        found = [tensor]
        if slot.param in copies:
            found.append(adopted_copy(backend, slot, tensor, copies[slot.param]))
            of_group += [(found[1], tensor)] if slot.group == k else []
        of_backend.setdefault(backend, []).extend(found)
    checked_copies(*zip(*of_group, strict=True))  # which have one dtype
    for backend, tensors in of_backend.items():
        backend.check_overlap(tensors)
    return str(of_group[0][0].dtype)


def adopted_copy(backend: Backend, slot: Slot, tensor: Tensor, copy: torch.Tensor) -> Tensor:
    """Return the copy of the parameter ``tensor`` as its backend sees it, checked."""
    name = f"copy_to of {slot.name}"
    check_placement(name, copy, slot.param)
    (adopted,) = checked_copies([backend.adopt(name, local(copy))], [tensor])
    return adopted


def copy_of(copies: Copies, slot: Slot, rule: Rule) -> torch.Tensor | None:
    """Return the copy that a parameter has. Raises ValueError if ``rule``, which its group asks for
    now, says otherwise."""
    found = copies.get(slot.param)
    if (found is not None) != (rule.around.get("copy_to") is not None):
        raise ValueError(
            f"{slot.name}: copy_to of its group was changed, or the parameter was; copy_to is "
            "structural, and of the parameters that the group was made with"
        )
    return found


def refresh(backends: Backends, copies: Copies) -> None:
    """Write parameters into their copies, rounded to nearest, and tell autograd."""
    with held(), torch.no_grad():
        for param, copy in copies.items():
            backends.of(param).copy_into(local(copy), local(param))
        torch.autograd.graph.increment_version(list(copies.values()))
