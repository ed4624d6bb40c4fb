"""Tensors of a framework, seen as NumPy arrays over the same memory.

A parameter on the host may belong to PyTorch as well as to NumPy; the backends that compute on
NumPy arrays update it in place, whoever owns it. The framework is never imported here: whoever
has a tensor has loaded it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...interrupts import held
from ...language.dtypes import COMPUTE_DTYPE, REAL_OF_COMPLEX, numpy_dtype

Array = NDArray[Any]


def loaded() -> Any:
    """Return PyTorch if something has imported it, else None."""
    return sys.modules.get("torch")


def is_tensor(array: Any) -> bool:
    """Return True if ``array`` is a tensor of PyTorch, on any device."""
    torch = loaded()
    return torch is not None and isinstance(array, getattr(torch, "Tensor", ()))


def dtype_name(tensor: Any) -> str:
    """Return ``"float32"`` for a tensor of ``torch.float32``."""
    return str(tensor.dtype).rpartition(".")[2]


def is_lazy(array: Any) -> bool:
    """Return True for a tensor whose memory holds the conjugates or negatives of its elements."""
    return is_tensor(array) and (array.is_conj() or array.is_neg())


def plain(tensor: Any) -> Any:
    """Return a tensor without history over the same memory; a lazy one as a copy."""
    tensor = tensor.detach()
    return tensor.resolve_conj().resolve_neg() if is_lazy(tensor) else tensor


def as_numpy(array: Any) -> Array:
    """Return a host tensor as a NumPy array over the same memory (a lazy one as a copy), and other
    arrays as they are."""
    if not is_tensor(array):
        return np.asanyarray(array)
    tensor = plain(array)
    if tensor.dtype == loaded().bfloat16:  # which NumPy takes as integers only
        bits: Array = tensor.view(loaded().uint16).numpy().view(numpy_dtype("bfloat16"))
        return bits
    shared: Array = tensor.numpy()
    return shared


def as_tensor(array: Array) -> Any:
    """Return a NumPy array as a tensor over the same memory; PyTorch must be loaded."""
    torch, is_bfloat16 = loaded(), array.dtype.name == "bfloat16"
    array = array.view(np.uint16) if is_bfloat16 else array
    # one that is not writable is a gradient, which is only read; PyTorch would warn of it
    tensor = torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))
    return tensor.view(torch.bfloat16) if is_bfloat16 else tensor


class _Writable:
    """An array's memory, described as if it might be written to."""

    def __init__(self, array: Array) -> None:
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
        self._kept = array


def like(owner: Any, array: Array) -> Any:
    """Return ``array`` as a tensor over the same memory if ``owner`` is a tensor, else itself."""
    if not is_tensor(owner):
        return array
    with held(), loaded().inference_mode(False):  # what is made in it could not be changed outside
        return as_tensor(array)


def kind_of(array: Any) -> str:
    """Return the name of its type, for messages."""
    module, name = type(array).__module__, type(array).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def described(tensor: Any) -> str:
    """Return the name of its type and device, for messages."""
    return f"{kind_of(tensor)} on {tensor.device}"


def is_fake(tensor: Any) -> bool:
    """Return True for a tensor of FakeTensorMode. Its module is never imported here: whoever has
    one has loaded it."""
    module = sys.modules.get("torch._subclasses.fake_tensor")
    return isinstance(tensor, getattr(module, "FakeTensor", ()))


def check_shaped(name: str, tensor: Any) -> None:
    """Raise ValueError for a parameter that a lazy module has not made yet."""
    if loaded().nn.parameter.is_lazy(tensor):
        raise ValueError(
            f"{name} has no shape yet: it is of a lazy module; run the model once, or load its state "
            "dict, first"
        )


def check_plain(name: str, tensor: Any) -> None:
    """Raise TypeError or ValueError for a tensor whose elements do not lie in memory one by one."""
    torch = loaded()
    check_shaped(name, tensor)
    if torch.utils._python_dispatch.is_traceable_wrapper_subclass(tensor):
        raise TypeError(
            f"{name} is a {described(tensor)}, which wraps other tensors; pass what it wraps "
            "(for a DTensor, to_local(); samestep.torch takes it as it is)"
        )
    if tensor.layout is not torch.strided or tensor.is_nested:
        what = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
        raise TypeError(f"{name} is a {what} tensor; expected a strided (dense) one")
    if tensor.is_quantized:
        raise TypeError(f"{name} is quantized ({tensor.dtype}); expected a floating-point tensor")
    if tensor.is_meta or is_fake(tensor):
        which = "on the meta device" if tensor.is_meta else "a fake tensor"
        raise TypeError(f"{name} is {which} and has no elements to update")
    if dtype_name(tensor) not in COMPUTE_DTYPE and dtype_name(tensor) not in REAL_OF_COMPLEX:
        names = ", ".join([*COMPUTE_DTYPE, *REAL_OF_COMPLEX])
        raise TypeError(f"{name} has dtype {dtype_name(tensor)}; expected one of {names}")


def check_parameter(name: str, tensor: Any) -> None:
    """Raise TypeError or ValueError for a tensor that cannot be updated in place."""
    check_plain(name, tensor)
    if not tensor.is_leaf:
        raise ValueError(
            f"{name} is not a leaf: it was computed from other tensors that require gradients; "
            "optimize those, or a detached copy"
        )
    if is_lazy(tensor):
        raise ValueError(
            f"{name} is a lazy conjugate or negative of another tensor; pass resolve_conj() or "
            "resolve_neg() of it"
        )
    if tensor.is_inference():
        raise ValueError(
            f"{name} was made in inference mode, where nothing notices changes; pass a clone()"
        )


def on_host(tensor: Any) -> bool:
    """Return True if NumPy can see the tensor's memory."""
    return bool(tensor.device.type == "cpu")


def owning_tensors(tensors: Sequence[Any]) -> list[Any]:
    """Return the adopted parameters that are tensors of PyTorch, as these."""
    kind = getattr(loaded(), "Tensor", ())
    return [t.owner for t in tensors if isinstance(t.owner, kind)]


def change_marker(tensors: Sequence[Any]) -> Callable[[], None]:
    """Return a function that tells autograd that those of the adopted parameters which are tensors
    are written to through their memory."""
    owners = owning_tensors(tensors)
    if not owners:
        return lambda: None
    return functools.partial(loaded().autograd.graph.increment_version, owners)
