"""Backends, modules and processor cores that this installation has."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import version

import numpy as np

from ...choice import available_backends, get_backend
from ...install_command import install_command
from .console import print_table
from .errors import UserError


def run_backends() -> int:
    """List the backends: which can run here and what the others need."""
    rows = [
        [status.name, "yes" if status.available else "no", status.detail, status.install]
        for status in available_backends().values()
    ]
    print_table("Backends", ["name", "can run", "detail", "to install"], rows, left=4)
    return 0


def need(command: str, modules: tuple[str, ...], extra: str) -> None:
    """Raise UserError, naming the extra to install, if one of ``modules`` is missing."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{command} needs {', '.join(missing)}; install with: {install_command(extra)}"
        )


def host_backends() -> list[str]:
    """Return the names of the backends that can run here and update NumPy arrays."""
    array = np.zeros(1, np.float32)
    return [
        name
        for name, status in available_backends().items()
        if status.available and get_backend(name).accepts(array)
    ]


def installed_versions(*distributions: str) -> dict[str, str]:
    """Return the versions of those of the distributions that are installed, by name."""
    return {
        name: version(name)
        for name in distributions
        if importlib.util.find_spec(name.replace("-", "_")) is not None
    }


def core_count() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
