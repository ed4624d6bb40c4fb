"""PyTorch tensors, on the host or on a device, and NumPy arrays through shared memory.

Four implementations, as PyTorch itself has them: ``forloop`` runs the rule's text tensor by
tensor; ``foreach`` gathers many tensors into bounded slices and runs it once a slice
(horizontal fusion); ``compiled`` has the text compiled over the same slices (vertical fusion);
``fused`` is one kernel for everything, where there is one: on the host that of the compiled CPU
backend, over the same memory. ``backend="torch:foreach"`` chooses one.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from typing import TYPE_CHECKING

from ...protocol import Availability

if TYPE_CHECKING:
    from .backend import TorchBackend

IMPLEMENTATIONS = ("forloop", "foreach", "compiled", "fused")
INSTALL = "install it with: pip install torch"


def availability() -> Availability:
    """What `samestep.available_backends` says about this backend."""
    if importlib.util.find_spec("torch") is None:
        return Availability("torch", False, "PyTorch is not installed", INSTALL)
    listed = ", ".join(IMPLEMENTATIONS)
    return Availability("torch", True, f"PyTorch {version('torch')}: {listed}")


def get_backend(implementation: str = "") -> TorchBackend:
    """What `samestep.get_backend` returns; without an implementation, the fastest that is exact
    where the parameters are."""
    from .backend import TorchBackend

    return TorchBackend(implementation)
