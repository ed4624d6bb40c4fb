"""What is installed here, and what a command needs."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import version

import numpy as np

from ...choice import available_backends, get_backend
from .errors import UserError


def need(what: str, modules: tuple[str, ...], extra: str) -> None:
    """Raise UserError, naming the extra to install, if one of ``modules`` is missing."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{what} needs {', '.join(missing)}; install with: pip install 'samestep[{extra}]'"
        )


def host_backends() -> list[str]:
    """Names of the backends that can run here and update NumPy arrays."""
    array = np.zeros(1, np.float32)
    return [
        name
        for name, status in available_backends().items()
        if status.available and get_backend(name).accepts(array)
    ]


def installed_versions(*distributions: str) -> dict[str, str]:
    """Distribution to version, of those that are installed."""
    return {
        name: version(name)
        for name in distributions
        if importlib.util.find_spec(name.replace("-", "_")) is not None
    }


def core_count() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
