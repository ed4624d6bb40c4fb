"""The bytes that a step moves, counted rather than timed.

Every array that an operation reads and every one that it writes is taken to be moved, once for each
operation: that is what goes through memory where arrays are too large for the caches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.codecs import stored_bits
from ...language.passes import program
from ...language.rule import Rule

Array = NDArray[Any]
SAMPLE = 1024  # elements of a tensor that are looked at to see whether it was written


def bytes_by_program(rule: Rule, params: Sequence[Array]) -> int:
    """Return the bytes that the passes of this rule variant move in one step.

    All arrays but states with a codec are taken to have the parameter's dtype; those that are
    smaller than the parameter, scales of blocks among them, are not counted.
    """
    return sum(_bits_of_element(rule.for_shape(p.shape), p.itemsize) * p.size // 8 for p in params)


def _bits_of_element(rule: Rule, itemsize: int) -> int:
    passes = program(rule).passes
    moved = [name for step in passes for name in (*step.loads, *(name for name, _ in step.stores))]
    return sum(
        stored_bits(rule.storage[name]) if name in rule.storage else 8 * itemsize for name in moved
    )


class Counted(np.ndarray[Any, Any]):
    """An array that counts NumPy's operations on it, and the bytes that they read and write.

    The counts are of all arrays of this class since they were last set to zero.
    """

    operations = 0
    moved = 0

    @staticmethod
    def add(*arrays: Any) -> None:
        """Count one operation that reads or writes these arrays."""
        Counted.operations += 1
        Counted.moved += sum(array.nbytes for array in arrays)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [a.view(np.ndarray) if isinstance(a, Counted) else a for a in inputs]
        if "out" in options:
            options["out"] = tuple(a.view(np.ndarray) for a in options["out"])
        result = getattr(ufunc, method)(*plain, **options)
        Counted.add(result, *(a for a in inputs if isinstance(a, Counted)))
        return result.view(Counted)

    def __setitem__(self, where: Any, value: Any) -> None:
        super().__setitem__(where, value)
        Counted.add(self[where], value)


@contextlib.contextmanager
def counting_torch() -> Iterator[None]:
    """Count in `Counted` the operations given to torch in this block, views left out.

    Operations of NumPy on tensors' memory are counted, too. An argument counts as written if its
    first elements have changed: torch declares more than it writes.
    """
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def tensors(tree: Any) -> dict[int, Any]:
        return {id(leaf): leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)}

    def first(tensor: Any) -> Any:
        return tensor.detach().reshape(-1)[:SAMPLE].clone()

    class ViewAsCounted(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), options: Any = None
        ) -> Any:
            result = function(*args, **(options or {}))
            return result.view(Counted) if function is torch.Tensor.numpy else result

    class Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, operation: Any, types: Any, args: Any = (), options: Any = None
        ) -> Any:
            options = options or {}
            if operation.is_view or "empty" in str(operation):
                return operation(*args, **options)
            read = tensors((args, {name: options[name] for name in options if name != "out"}))
            before = {key: first(tensor) for key, tensor in read.items()}
            result = operation(*args, **options)
            made = [tensor for key, tensor in tensors(result).items() if key not in read]
            changed = [t for key, t in read.items() if not torch.equal(first(t), before[key])]
            Counted.add(*read.values(), *changed, *made)
            return result

    Counted.operations = Counted.moved = 0
    with ViewAsCounted(), Count():  # type: ignore[no-untyped-call]
        yield


def bytes_by_xla(compiled: Any) -> int:
    """Return the bytes that a function compiled by jax moves, by XLA's own analysis."""
    return int(compiled.cost_analysis()["bytes accessed"])
