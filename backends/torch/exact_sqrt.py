"""The square root of tensors, correctly rounded."""

from __future__ import annotations

import numpy as np
import torch

Tensor = torch.Tensor


def exact_sqrt(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the correctly rounded square root. PyTorch's own is not, on the host: 0.6 % of the
    float32 results differ in the last bit. That of its compiler is."""
    if torch.compiler.is_compiling() or not x.is_cpu:
        return torch.sqrt(x, out=out)
    result = torch.empty_like(x) if out is None else out
    np.sqrt(x.numpy(), out=result.numpy())
    return result
