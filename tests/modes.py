"""Modes of the process that the package switches, or might: whatever runs leaves them as they
were."""

from __future__ import annotations

import contextlib
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from samestep import choice, interrupts

# of PyTorch, until somebody imports it
OF_TORCH = {
    "autograd": True,
    "inference mode": False,
    "autocast": False,
    "torch's default dtype": "torch.float32",
    "torch's default device": "cpu",
    "torch's function modes": 0,
    "equal lengths are one symbol": True,
}


def modes() -> dict[str, Any]:
    """What they are now, by name."""
    return {
        "numpy's errors": np.geterr(),
        "handler of SIGINT": signal.getsignal(signal.SIGINT),
        "interrupts": (interrupts._holding, interrupts._came),
        "trace": sys.gettrace(),
        "profile": sys.getprofile(),
        "warnings": _filters(),
        "shower of warnings": warnings.showwarning,
        "chosen backend": choice._chosen.get(),
        **OF_TORCH,
        **_of_torch(),
    }


def _filters() -> list[Any]:
    """Filters of all warnings of a kind. Imports add others, of a package's own or by message."""
    return [
        each
        for each in warnings.filters
        if each[1] is None and each[3] is None and each[2].__module__ == "builtins"
    ]


def _of_torch() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):  # or it is being imported
        return {}
    shapes = sys.modules.get("torch.fx.experimental._config")
    return {
        "autograd": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "torch's default dtype": str(torch.get_default_dtype()),
        "torch's default device": str(torch.get_default_device()),
        "torch's function modes": torch._C._len_torch_function_stack(),
        "equal lengths are one symbol": True if shapes is None else shapes.use_duck_shape,
    }


def switched(before: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What each mode was and what it is now, of those that are not what they were."""
    now = modes()
    return {name: (before[name], now[name]) for name in now if now[name] != before[name]}


@contextlib.contextmanager
def modes_stay() -> Iterator[None]:
    """The block leaves all of them as they were."""
    before = modes()
    yield
    found = switched(before)
    assert not found, f"left switched (was, is): {found}"
