"""One launch a pass over the memory of tensors on a CUDA device."""

from __future__ import annotations

from typing import Any

import torch

from ...interrupts import held
from ...language.rule import Rule
from ...pages import see
from ..cuda.backend import CudaBackend
from ..cuda.device import entered
from ..cuda.device_verdict import RESULTS, DeviceVerdict
from ..cuda.staging import Download
from ..tensor import AdoptedTensor
from .arrays import TorchArrays
from .on_device import TorchOnDevice


class FusedOnDevice(CudaBackend, TorchOnDevice):
    """Printed kernels, over the memory of tensors, on PyTorch's current stream."""

    implementation = "fused"
    device: TorchArrays

    def new_state(self, tensor: AdoptedTensor, rule: Rule, hyper: dict[str, Any]) -> dict[str, Any]:
        self.follow()
        return super().new_state(tensor, rule, hyper)

    def to_numpy(self, array: Any, copied: bool = True) -> Any:
        if self._is_there(array):
            self.follow()
        return super().to_numpy(array, copied)

    def copy_into(self, array: Any, values: Any) -> None:
        self.follow()
        super().copy_into(array, values)

    def verdict_of_scaler(
        self, found_inf: torch.Tensor, scale: torch.Tensor | None
    ) -> DeviceVerdict:
        """Return what follows from a GradScaler's tensors, which stay where they are: gradients are
        divided by ``scale``, and the step is left out if ``found_inf`` is not 0. Raises
        RuntimeError if work is being captured."""
        if self.capturing():
            raise RuntimeError(
                "a step that a GradScaler may leave out cannot be captured: whether it counts is "
                "decided between steps; capture the gradients, and step after the graph's replay"
                f"{see('torch.md#on-a-cuda-device')}"
            )
        with held(), torch.inference_mode(False), entered(self.device):
            numbers = self.device.empty(RESULTS, "float64").fill_(1)
            if scale is not None:
                numbers[0].div_(scale.to(self.device.place, torch.float64))
            numbers[1].copy_(found_inf)
            (address,) = self.device.addresses([numbers]).tolist()
            download = Download(self.device, address, RESULTS)
            download.start()
        return DeviceVerdict(self.device, numbers, download)
