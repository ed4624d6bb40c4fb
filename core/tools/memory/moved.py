"""How many bytes a step moves, counted rather than timed.

What moves is taken to be every array that an operation reads and every one that it writes, once
per operation: what goes through memory where arrays are too large for the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...language.passes import program
from ...language.rule import Rule

Array = NDArray[Any]


def bytes_by_program(rule: Rule, params: Sequence[Array]) -> int:
    """Of one step of this rule variant, from the traced passes. All arrays are taken to have the
    parameter's dtype; those that are smaller than the parameter are not counted."""
    return sum(sum(program(rule.for_shape(p.shape)).traffic) * p.nbytes for p in params)


class Counted(np.ndarray[Any, Any]):
    """An array that counts what NumPy's operations on it read and write.

    ``total`` is of all arrays of this class since it was set to zero.
    """

    total = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [a.view(np.ndarray) if isinstance(a, Counted) else a for a in inputs]
        result = getattr(ufunc, method)(*plain, **options)
        Counted.total += result.nbytes + sum(a.nbytes for a in inputs if isinstance(a, Counted))
        return result.view(Counted)

    def __setitem__(self, where: Any, value: Any) -> None:
        super().__setitem__(where, value)
        Counted.total += self[where].nbytes + value.nbytes


def bytes_by_torch(step: Callable[[], object]) -> int:
    """Of the operations that ``step`` gives to torch. An argument counts as written if it has
    changed: torch declares more than it writes."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    total = 0

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, operation: Any, types: Any, args: Any = (), options: Any = None
        ) -> Any:
            nonlocal total
            if operation.is_view:
                return operation(*args, **(options or {}))
            leaves = tree_leaves((args, options or {}))
            given = {id(leaf): leaf for leaf in leaves if isinstance(leaf, torch.Tensor)}
            before = [tensor.clone() for tensor in given.values()]
            result = operation(*args, **(options or {}))
            written = [
                tensor
                for tensor, old in zip(given.values(), before, strict=True)
                if not torch.equal(tensor, old)
            ]
            made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            fresh = [tensor for tensor in made if id(tensor) not in given]
            total += sum(tensor.nbytes for tensor in (*given.values(), *written, *fresh))
            return result

    with Counting():  # type: ignore[no-untyped-call]
        step()
    return total


def operations_by_torch(step: Callable[[], object]) -> int:
    """How many operations ``step`` gives to torch, views and empty tensors left out."""
    from torch.utils._python_dispatch import TorchDispatchMode

    count = 0

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, operation: Any, types: Any, args: Any = (), options: Any = None
        ) -> Any:
            nonlocal count
            count += not (operation.is_view or "empty" in str(operation))
            return operation(*args, **(options or {}))

    with Counting():  # type: ignore[no-untyped-call]
        step()
    return count


def bytes_by_xla(compiled: Any) -> int:
    """Of one call of a function that jax has compiled, by XLA's own analysis."""
    return int(compiled.cost_analysis()["bytes accessed"])
