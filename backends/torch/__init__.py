"""PyTorch tensors, on the host or on a device, and NumPy arrays through shared memory.

Four implementations, as PyTorch itself has them: ``forloop`` runs a rule's operations tensor by
tensor; ``foreach`` gathers many tensors into bounded slices and runs them once a slice
(horizontal fusion); ``compiled`` has them compiled over the same slices (vertical fusion);
``fused`` is one kernel for everything, over the memory of tensors: on the host that of the compiled
CPU backend, on a CUDA device the printed one. ``backend="torch:foreach"`` chooses one.
"""

from __future__ import annotations

import functools
import importlib.util
import runpy
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...protocol import Availability, too_old
from ..cuda import compiler_version

if TYPE_CHECKING:
    from .on_device import TorchOnDevice
    from .on_host import TorchOnHost

IMPLEMENTATIONS = ("forloop", "foreach", "compiled", "fused")
OLDEST = (2, 6)
INSTALL = "install it with: pip install torch"
UPDATE = "update it with: pip install 'torch>=2.6'"


def availability() -> Availability:
    """Say whether this backend can run here and, if not, why and what to install."""
    if importlib.util.find_spec("torch") is None:
        return Availability("torch", False, "PyTorch is not installed", INSTALL)
    installed = _installed()
    if reason := too_old("PyTorch", installed, OLDEST):
        return Availability("torch", False, reason, UPDATE)
    listed = ", ".join(IMPLEMENTATIONS)
    return Availability("torch", True, f"PyTorch {installed}: {listed}{_on_cuda()}")


@functools.cache  # slow to read, and asked for whenever an optimizer is made
def _installed() -> str:
    """Return PyTorch's version."""
    return version("torch")


@functools.cache
def _knows_cuda() -> bool:
    """Return whether PyTorch was built for CUDA devices."""
    spec = importlib.util.find_spec("torch")
    file = Path(spec.origin if spec and spec.origin else "nowhere").with_name("version.py")
    return file.exists() and bool(runpy.run_path(str(file)).get("cuda"))  # torch is slow to import


def _on_cuda() -> str:
    """Say whether ``fused`` runs on CUDA devices; nothing of a PyTorch that knows none."""
    if not _knows_cuda():
        return ""
    try:
        return f"; fused on CUDA by NVRTC {compiler_version()}"
    except RuntimeError as error:
        return f"; no fused on CUDA: {error}"


def get_backend(implementation: str, arrays: Sequence[Any]) -> TorchOnHost | TorchOnDevice:
    """Return the backend for parameters that are where the first of ``arrays`` is; without an
    implementation, the fastest that is exact there."""
    from ..torch_tensors.view import is_tensor, on_host

    if arrays and is_tensor(arrays[0]) and not on_host(arrays[0]):
        from .device_choice import device_backend

        return device_backend(implementation, arrays[0].device)
    from .on_host import host_backend

    return host_backend(implementation)
