"""What an optimizer of torch is told by its arguments and its parameter groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...rule import Rule


def chosen_backend(backend: str | None, foreach: bool | None, fused: bool | None) -> str | None:
    """The name of the backend that these arguments ask for; None for no choice.

    Raises RuntimeError, as torch does, if they ask for several.
    """
    if foreach and fused:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together")
    if foreach is None and fused is None:
        return backend
    if backend is not None:
        raise RuntimeError(f"backend={backend!r} and `foreach` or `fused` both choose one")
    if foreach or fused:
        return "torch:foreach" if foreach else "torch:fused"
    return "torch:forloop"


def plain(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Hyperparameters with numbers where there were tensors, and tuples where there were lists."""
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


def group_rule(
    rule: Rule,
    numbers: Mapping[str, Any],
    held: Sequence[tuple[tuple[int, ...], set[str]]] = (),
) -> Rule:
    """The variant of the rule for a group with these hyperparameters.

    ``held`` are the shapes of its parameters that have state, and the names in it: an option that
    is also a number may have become zero, and the state is still there.
    """
    options = rule.chosen_options(numbers)
    for name, on in options.items():
        if held and not on and name in rule.defaults:
            wider = rule.variant(**{**options, name: True})
            if all(names.issuperset(wider.for_shape(shape).state) for shape, names in held):
                return wider
    return rule.variant(**options)
