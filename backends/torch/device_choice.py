"""The choice of a backend for tensors on a device."""

from __future__ import annotations

import torch

from ..cuda import compiler_version
from .arrays import TorchArrays
from .implementations import backend_name
from .on_device import OperationsOnDevice, TorchOnDevice

INSTALL = "install it with: pip install cuda-bindings nvidia-cuda-nvrtc"


def device_backend(implementation: str, device: torch.device) -> TorchOnDevice:
    """Return the backend with this implementation; the default is "fused", and "foreach" where
    kernels cannot be compiled or launched.

    Raises RuntimeError for one that cannot run here.
    """
    name, arrays = backend_name(implementation), TorchArrays(device)
    if implementation in ("", "fused") and device.type == "cuda":
        try:
            compiler_version()
        except RuntimeError as error:
            if implementation:
                raise RuntimeError(
                    f"backend {name!r} cannot run on {device}: {error}; {INSTALL}"
                ) from error
        else:
            from .fused_on_device import FusedOnDevice  # it needs what may not be installed

            return FusedOnDevice(name, arrays)
    return OperationsOnDevice(name, implementation or "foreach", arrays)
