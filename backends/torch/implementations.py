"""The implementations of PyTorch's launches, by name."""

from __future__ import annotations

import torch

from ...language.rule import Rule
from .launch import TorchLaunch


def backend_name(implementation: str) -> str:
    """Return the name of the backend that has this implementation; that of the default for ""."""
    return f"torch:{implementation}" if implementation else "torch"


def check_compiler(device: torch.device) -> None:
    """Raise RuntimeError where PyTorch's compiler cannot make exact code for this device."""
    from .compiled import unknown_settings

    if missing := unknown_settings():
        raise RuntimeError(
            f"backend 'torch:compiled' cannot run on {device}: the compiler of PyTorch "
            f"{torch.__version__} has no setting {', '.join(missing)}, without which its code is "
            "inexact; install torch 2.11 or newer, or choose 'torch:foreach'"
        )


def torch_launch(implementation: str, rule: Rule, param_dtype: str) -> TorchLaunch:
    """Return a new launch that is "forloop", "foreach" or "compiled"."""
    if implementation == "compiled":
        from .compiled import CompiledLaunch  # the compiler takes a second to import

        return CompiledLaunch(rule, param_dtype, gathered=True)
    return TorchLaunch(rule, param_dtype, gathered=implementation == "foreach")
