"""Once this is imported, ``get_backend("torch")`` brings arrays to the CUDA device, as that of CuPy
does, where it would keep them in host memory. A plugin for pytest, too: ``-p gpu.on_cuda``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from samestep.backends import torch as backend

DEVICE = os.environ.get("SAMESTEP_TEST_DEVICE", "cuda")
by_arrays = backend.get_backend


def on_device(implementation: str, arrays: Sequence[Any]) -> Any:
    """As `samestep.backends.torch.get_backend`; without arrays for those on the device."""
    return by_arrays(implementation, arrays or [torch.empty(0, device=DEVICE)])


backend.get_backend = on_device
