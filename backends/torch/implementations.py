"""The implementations of PyTorch's launches, by name."""

from __future__ import annotations

from ...language.rule import Rule
from .launch import TorchLaunch


def backend_name(implementation: str) -> str:
    """Return the name of the backend that has this implementation; that of the default for ""."""
    return f"torch:{implementation}" if implementation else "torch"


def torch_launch(implementation: str, rule: Rule, param_dtype: str) -> TorchLaunch:
    """Return a new launch that is "forloop", "foreach" or "compiled"."""
    if implementation == "compiled":
        from .compiled import CompiledLaunch  # the compiler takes a second to import

        return CompiledLaunch(rule, param_dtype, gathered=True)
    return TorchLaunch(rule, param_dtype, gathered=implementation == "foreach")
