"""The user's function: what it returns is checked before anything is made of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Closure = Callable[[], Any]  # returns the loss and the gradients


def loss_and_grads(returned: Any) -> tuple[float, Any]:
    """Return the loss as a float, and the gradients as they came. Raise TypeError for what is no
    pair of them."""
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise TypeError(
            f"closure returned {_described(returned)}; expected (loss, grads), with grads of the "
            "structure of the parameters"
        )
    return as_number(returned[0]), returned[1]


def as_number(loss: Any) -> float:
    """Return a loss as a float; it may be an array or a tensor of one number. Raise TypeError for
    anything else."""
    try:
        number = loss.item() if hasattr(loss, "item") else loss
        if isinstance(number, (complex, str, bytes)):
            raise TypeError
        return float(number)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"the loss is {_described(loss)}; expected one real number") from None


def check_start(loss: float, largest: float) -> None:
    """Raise ValueError if there is no way from the first point, because it is not finite."""
    if not (math.isfinite(loss) and math.isfinite(largest)):
        raise ValueError(
            f"at the parameters as they are, the loss is {loss} and the largest derivative "
            f"{largest}; expected finite numbers, so start from other parameters; nothing was changed"
        )


def _described(value: Any) -> str:
    """Say what came: its type, and its shape if it has one."""
    shape = getattr(value, "shape", None)
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    of_shape = "" if shape is None else f" of shape {tuple(shape)}"
    return f"a {type(value).__name__}{of_shape}"
