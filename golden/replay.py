"""Replays the inputs of a golden file on a backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..choice import get_backend
from ..language.clipping import clipped
from ..language.rule import CLIPS, Rule
from ..language.scalars import as_numbers, next_scalars
from ..optimizers.optimizer import Optimizer
from ..parts.by_keyword import variant_of
from ..step.loss_scaler import LossScaler
from .format import Golden, Header

Array = NDArray[Any]


def replay(golden: Golden, rule: Rule, backend: str) -> dict[str, Array]:
    """Return the tensors that a golden file with these inputs stores, in the order they come about.

    ``rule`` is the family's rule or any of its variants; the header's hyperparameters choose the
    variant. Raises what `Optimizer` and its ``step`` raise.
    """
    header = golden.header
    result: dict[str, Array] = {}
    place = get_backend(backend).asarray
    params = {name: place(array) for name, array in golden.parameters().items()}
    optimizer = Optimizer(
        rule, params, backend=backend, **header.hyperparameters, **_settings(header)
    )
    variant = variant_of(rule, optimizer.defaults)
    clips = tuple(name for name in CLIPS if optimizer.defaults[name] is not None)
    variants = {
        name: clipped(variant.for_shape(array.shape), clips) for name, array in params.items()
    }
    carries = {name: dict(each.carry) for name, each in variants.items()}
    for step in range(1, header.steps + 1):
        grads = {
            name: None if grad is None else place(grad)
            for name, grad in golden.gradients(step).items()
        }
        hyper = optimizer.param_groups[0]
        hyper.update(rule.hyperparameters(header.hyper_at(step)))
        if header.estimates and step in header.estimates["steps"]:
            optimizer.update_hessian(grads)
        before = dict(zip(params, optimizer.steps, strict=True))
        optimizer.step(grads)
        after = dict(zip(params, optimizer.steps, strict=True))
        stepped = [name for name in params if after[name] != before[name]]
        for name in stepped:  # the scalars, before they are rounded
            each = variants[name]
            numbers = as_numbers({key: hyper[key] for key in each.defaults})
            row, carries[name] = next_scalars(each, before[name], carries[name], numbers)
            result[f"scalars.{step}.{name}"] = np.array(list(row.values()), np.float64)
        if variant.carry:
            found = dict(zip(params, optimizer.state_dict()["state"].values(), strict=True))
            for name in stepped:
                carry = [found[name][key] for key in variant.carry]
                result[f"carry.{step}.{name}"] = np.array(carry, np.float64)
            for name, own in carries.items():
                own |= {key: found[name][key] for key in variant.shared}
        if optimizer.grad_norm is not None:
            result[f"grad_norm.{step}"] = np.array([optimizer.grad_norm], np.float64)
        if step in header.stored_steps:
            result |= _parameters_and_state(optimizer, params, step)
    return result


def _settings(header: Header) -> dict[str, Any]:
    """Return the arguments of `Optimizer` besides hyperparameters."""
    settings = dict(header.settings or {})
    if "loss_scaler" in settings:
        settings["loss_scaler"] = LossScaler(**settings["loss_scaler"])
    return settings


def _parameters_and_state(
    optimizer: Optimizer, params: Mapping[str, Any], step: int
) -> dict[str, Array]:
    result = {}
    for (name, param), state in zip(params.items(), optimizer.state, strict=True):
        result[f"param.{step}.{name}"] = optimizer.backend.to_numpy(param)
        for key, array in state.items():
            result[f"state.{step}.{name}.{key}"] = optimizer.backend.to_numpy(array)
    return result
