"""The gradients that a rule sees, in arbitrary precision: after accumulation, unscaling, clipping
and skipping. Written from what `samestep.Optimizer` says of them, with no code of the library's."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from .format import Golden

Array = NDArray[Any]
Seen = dict[str, Any]  # tensor to a vector of exact numbers, or None if it does not step


def exact(array: Array) -> Any:
    """Return the elements as mpmath numbers, in an object array; a single number is a vector of
    one."""
    numbers = [mpmath.mpf(float(x)) for x in array.reshape(-1)]
    return np.array(numbers, object).reshape(array.shape or 1)


def gradients_seen(golden: Golden) -> list[Seen]:
    """Return the gradients that the rule sees, for each call of ``step`` in order."""
    settings = golden.header.settings or {}
    count = settings.get("accumulation_steps", 1)
    scaler = dict(settings.get("loss_scaler") or {"scale": 1.0})
    skips = settings.get("skip_nonfinite", False) or bool(
        {"loss_scaler", "clip_global_norm"} & settings.keys()
    )
    window: list[dict[str, Array | None]] = []
    result = []
    for step in range(1, golden.header.steps + 1):
        window.append(golden.gradients(step))
        nothing: Seen = dict.fromkeys(golden.header.tensors)
        if len(window) < count:
            result.append(nothing)
            continue
        given, window = window, []
        finite = all(np.isfinite(a).all() for g in given for a in g.values() if a is not None)
        scale = mpmath.mpf(scaler["scale"])
        if "loss_scaler" in settings:
            _rescale(scaler, finite)
        if skips and not finite:
            result.append(nothing)
            continue
        mean = {name: _mean([g[name] for g in given], scale) for name in golden.header.tensors}
        hyper = golden.header.hyper_at(step)
        result.append(_clipped(mean, settings.get("clip_global_norm"), hyper))
    return result


def _rescale(scaler: dict[str, Any], finite: bool) -> None:
    scaler["good"] = scaler.get("good", 0) + 1 if finite else 0
    if not finite:
        scaler["scale"] *= scaler["backoff_factor"]
    elif scaler["good"] == scaler["growth_interval"]:
        scaler["good"] = 0
        scaler["scale"] *= scaler["growth_factor"]


def _mean(arrays: list[Array | None], scale: Any) -> Any:
    present = [exact(a) for a in arrays if a is not None]
    if not present:
        return None
    total = present[0]
    for array in present[1:]:
        total = total + array
    return total / (len(arrays) * scale)


def _clipped(grads: Seen, global_norm: float | None, hyper: dict[str, Any]) -> Seen:
    present = {name: grad for name, grad in grads.items() if grad is not None}
    if global_norm is not None:
        norm = _norm(np.concatenate([grad.reshape(-1) for grad in present.values()]))
        if norm > global_norm:
            present = {name: grad * (global_norm / norm) for name, grad in present.items()}
    limit, most = hyper.get("clip_value", math.inf), hyper.get("clip_norm", math.inf)
    for name, grad in present.items():
        if limit < math.inf:
            grad = np.minimum(np.maximum(grad, mpmath.mpf(-limit)), mpmath.mpf(limit))
        norm = _norm(grad) if most < math.inf else 0
        present[name] = grad * (most / norm) if norm > most else grad
    return {name: present.get(name) for name in grads}


def _norm(vector: Any) -> Any:
    return mpmath.sqrt(mpmath.fsum(x * x for x in vector.reshape(-1)))
