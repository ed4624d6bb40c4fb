"""Arrays on the device."""

from __future__ import annotations

import ctypes
import operator
from typing import Any

import numpy as np

from ._memory import Memory, MemoryPointer, UnownedMemory
from ._work import get_current_stream, later


def _seen(address: int, nbytes: int) -> np.ndarray:
    return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(address), np.uint8)


class ndarray:
    __array_priority__ = 100

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: Any = None,
        strides: Any = None,
        order: str = "C",
    ) -> None:
        dtype = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.data = MemoryPointer(Memory(size), 0) if memptr is None else memptr
        if strides is None:
            memory = _seen(self.data.ptr, size) if size else np.empty(0, np.uint8)
            self._array = memory.view(dtype).reshape(shape, order=order)
        else:
            reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + dtype.itemsize
            memory = _seen(self.data.ptr, reach)
            self._array = np.ndarray(shape, dtype, memory, 0, strides)

    @classmethod
    def _of(cls, array: np.ndarray, owner: ndarray) -> ndarray:
        """Part of an array's memory."""
        new = cls.__new__(cls)
        new._array = array
        offset = array.ctypes.data - owner.data.ptr if array.size else 0
        new.data = MemoryPointer(owner.data.mem, owner.data._offset + offset)
        return new

    def __array__(self, dtype: Any = None, copy: Any = None) -> None:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    @property
    def size(self) -> int:
        return self._array.size

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    @property
    def itemsize(self) -> int:
        return self._array.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        return self._array.strides

    @property
    def flags(self) -> Any:
        return self._array.flags

    @property
    def device(self) -> Any:
        from .cuda._device import Device

        return Device(self.data.device_id)

    @property
    def T(self) -> ndarray:
        return self.transpose()

    def transpose(self, *axes: int) -> ndarray:
        return ndarray._of(self._array.transpose(*axes), self)

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return ndarray._of(self._array.swapaxes(axis1, axis2), self)

    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> np.ndarray:
        (stream or get_current_stream()).synchronize()
        return np.array(self._array, order=order)

    def fill(self, value: Any) -> None:
        later(lambda: self._array.fill(value))

    def copy(self, order: str = "C") -> ndarray:
        return self._computed(lambda: self._array, order=order)

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: Any = None,
        subok: Any = None,
        copy: bool = True,
    ) -> ndarray:
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return self._computed(lambda: self._array, dtype)

    def _computed(
        self, values: Any, dtype: Any = None, order: str = "C", shape: Any = None
    ) -> ndarray:
        new = ndarray(self.shape if shape is None else shape, dtype or self.dtype, order=order)

        def work() -> None:
            with np.errstate(over="ignore"):  # a device warns of nothing
                new._array[...] = values()

        later(work)
        return new

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        view = self._array.reshape(*shape, order=order)
        if view.size and not np.may_share_memory(view, self._array):  # NumPy 2.0 has no copy=False
            return self.copy().reshape(*shape)
        return ndarray._of(view, self)

    def ravel(self, order: str = "C") -> ndarray:
        return self.reshape(-1)

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        return ndarray._of(self._array.view(dtype or self.dtype), self)

    def _taken(self, key: Any) -> ndarray:
        """A copy of what arrays of indices name, or an array of booleans, which is waited for."""
        keys = key if isinstance(key, tuple) else (key,)
        if keys[0].dtype == bool:
            get_current_stream().synchronize()
            named = np.flatnonzero(keys[0]._array)
            return self._of_rows(len(named), 1, lambda: (named,))
        return self._of_rows(len(keys[0]), len(keys), lambda: tuple(k._array for k in keys))

    def _of_rows(self, count: int, axes: int, where: Any) -> ndarray:
        new = ndarray((count, *self.shape[axes:]), self.dtype)
        later(lambda: new._array.__setitem__(..., self._array[where()]))
        return new

    def __getitem__(self, key: Any) -> ndarray:
        if isinstance(key, tuple) and isinstance(key[-1], list):
            new = ndarray(self._array[key].shape, self.dtype)
            later(lambda: new._array.__setitem__(..., self._array[key]))
            return new
        if isinstance(key[0] if isinstance(key, tuple) and key else key, ndarray):
            return self._taken(key)
        part = self._array[key]
        if isinstance(part, np.generic):
            part = self._array[key if isinstance(key, tuple) else (key,)][..., None].reshape(())
            raise IndexError("the double has no scalars of arrays; slice and reshape")
        return ndarray._of(part, self)

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if isinstance(key[0] if isinstance(key, tuple) and key else key, ndarray):
            keys = key if isinstance(key, tuple) else (key,)
            later(lambda: self._array.__setitem__(tuple(k._array for k in keys), value._array))
            return
        if isinstance(key, tuple) and isinstance(key[-1], list):
            later(lambda: self._array.__setitem__(key, value._array))
            return
        part = self._array[key] if key is not Ellipsis else self._array

        def work() -> None:
            part[...] = value._array if isinstance(value, ndarray) else value

        later(work)

    def __len__(self) -> int:
        return len(self._array)

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    def __reduce__(self) -> Any:
        return array, (self.get(),)

    def item(self) -> Any:
        return self.get().item()

    def __int__(self) -> int:
        return int(self.item())

    def argsort(self, axis: int = -1) -> ndarray:
        return self._computed(lambda: self._array.argsort(), np.int64)

    def cumsum(self, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
        return self._computed(lambda: self._array.cumsum(axis), np.int64)

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> ndarray:
        return self._reduced("sum", axis)

    def tolist(self) -> Any:
        return self.get().tolist()

    def _reduced(self, name: str, axis: Any = None) -> ndarray:
        shape = () if axis is None else np.empty(self.shape, bool).any(axis).shape
        new = ndarray(shape, self.dtype)
        later(lambda: new._array.__setitem__(..., getattr(self._array, name)(axis)))
        return new

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return self._reduced("all", axis)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return self._reduced("any")

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return self._reduced("min")

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return self._reduced("max")

    def __abs__(self) -> ndarray:
        return self._computed(lambda: abs(self._array))

    def __rsub__(self, other: float) -> ndarray:
        return self._computed(lambda: other - self._array)

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "version": 3,
            "data": (self.data.ptr, False),
            "strides": None if self.flags.c_contiguous else self.strides,
            "stream": get_current_stream().ptr or 1,
        }

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: Any = None,
    ) -> Any:
        return self._array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, self.data.device_id)


def _operator(name: str, dtype: Any = None) -> Any:
    function = getattr(operator, name)

    def method(self: ndarray, other: Any) -> ndarray:
        def work() -> np.ndarray:
            with np.errstate(all="ignore"):  # a device warns of nothing
                return function(self._array, other._array if isinstance(other, ndarray) else other)

        shape = np.broadcast_shapes(self.shape, getattr(other, "shape", ()))
        return self._computed(work, dtype, shape=shape)

    return method


def _in_place(name: str) -> Any:
    function = getattr(operator, name)

    def method(self: ndarray, other: Any) -> ndarray:
        def work() -> None:
            with np.errstate(all="ignore"):
                function(self._array, other._array if isinstance(other, ndarray) else other)

        later(work)
        return self

    return method


for _name in ("iadd", "imul", "isub"):
    setattr(ndarray, f"__{_name}__", _in_place(f"__{_name}__"))
for _name in ("add", "sub", "mul", "truediv", "mod", "and", "or", "pow"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in ("eq", "ne", "lt", "ge"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__", bool))
ndarray.__rmul__, ndarray.__radd__ = ndarray.__mul__, ndarray.__add__
ndarray.__hash__ = None  # as the real one


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    return asarray(np.arange(start, stop, step, dtype))


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype, order=order)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    new = ndarray(shape, dtype, order=order)
    new.fill(0)
    return new


def zeros_like(
    a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return zeros(a.shape, a.dtype)


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
) -> ndarray:
    if isinstance(a, ndarray):
        return a.astype(dtype or a.dtype, copy=bool(copy))
    values = np.array(a, dtype, order="C")
    new = ndarray(values.shape, values.dtype)
    later(lambda: new._array.__setitem__(..., values))
    return new


def array(
    obj: Any, dtype: Any = None, copy: bool = True, order: str = "K", subok: bool = False,
    ndmin: int = 0, *, blocking: bool = False,
) -> ndarray:  # fmt: skip
    return asarray(obj, dtype, copy=copy)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    return a if a.flags.c_contiguous else a.copy()


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> np.ndarray:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def from_dlpack(array: Any, *, device: Any = None, copy: Any = None) -> ndarray:
    kind, number = array.__dlpack_device__()
    if kind != 2:
        raise TypeError("CPU arrays cannot be directly imported to CuPy.")
    capsule = array.__dlpack__(stream=get_current_stream().ptr or 1)

    class OnHost:
        def __dlpack__(self, **_: Any) -> Any:
            return capsule

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    seen = np.from_dlpack(OnHost())
    memory = UnownedMemory(seen.ctypes.data, seen.nbytes, (seen, array), number)
    return ndarray(seen.shape, seen.dtype, MemoryPointer(memory, 0), seen.strides)


def isfinite(x: ndarray) -> ndarray:
    return x._computed(lambda: np.isfinite(x._array), bool)


def where(condition: ndarray, x: Any = None, y: Any = None) -> ndarray:
    assert x is not None
    assert y is not None
    shape = np.broadcast_shapes(condition.shape, x.shape, getattr(y, "shape", ()))
    other = y._array if isinstance(y, ndarray) else y
    return x._computed(lambda: np.where(condition._array, x._array, other), shape=shape)


def stack(
    tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> ndarray:
    parts = list(tup)
    new = empty((len(parts), *parts[0].shape), np.result_type(*(part.dtype for part in parts)))
    later(lambda: np.stack([part._array for part in parts], out=new._array))
    return new


def matmul(x1: ndarray, x2: ndarray, out: Any = None) -> ndarray:
    new = out if out is not None else empty((*x1.shape[:-1], *x2.shape[1:]), x1.dtype)

    def work() -> None:
        with np.errstate(all="ignore"):
            np.matmul(x1._array, x2._array, out=new._array)

    later(work)
    return new
