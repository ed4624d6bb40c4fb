"""Takes what torch's GradScaler leaves to a step: its scale, and whether a gradient is not
finite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ....language.dtypes import WIDER
from ....step.settings import Settings

# PyTorch refuses gradients that would lose something before it gives them to a parameter
USUAL = {warns: Settings(warn_lost_updates=warns, cast_gradients=WIDER) for warns in (True, False)}


def takes_scale(backend: Any) -> bool:
    """Say whether launches take a scale and a flag from tensors on the device."""
    return hasattr(backend, "verdict_of_scaler")


def settings_now(optimizer: Any, backend: Any) -> Settings | None:
    """Return the settings of the step that an optimizer is asked for; None if it is to be left out.
    A GradScaler sets ``found_inf`` and ``grad_scale`` of the optimizer while it calls."""
    found_inf = getattr(optimizer, "found_inf", None)
    scale = getattr(optimizer, "grad_scale", None)
    usual = USUAL[optimizer.warn_lost_updates]
    if found_inf is not None and takes_scale(backend):
        return replace(usual, verdict=backend.verdict_of_scaler(found_inf, scale))
    if found_inf is not None and found_inf.item():
        return None
    return usual if scale is None else replace(usual, grad_scale=float(scale))
