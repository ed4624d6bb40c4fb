"""Parameters in any structure as one vector of float64, and their gradients as another one."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from ..language.dtypes import COMPUTE_DTYPE
from ..pages import see
from ..parameters.contents import Contents
from ..parameters.trees import flat_count, flatten_like, gradient_leaves
from ..protocol import Backend, Tensor
from ..step.launches import Launches
from .texts import KEEP

DTYPES = ("float64", "float32")


class ParameterVector:
    """The parameters one after the other, in the order of their structure; complex ones as pairs of
    reals. ``spec`` is the structure, as `samestep.parameters.trees.flatten` returns it.

    ``tree`` holds them; ``mark_changed`` tells autograd that they are written to.

    Raises TypeError or ValueError, naming the parameter, for what cannot be used.
    """

    def __init__(self, backend: Backend, tree: Any, names: list[str], spec: Any) -> None:
        self._backend, self._tree, self._spec = backend, tree, spec
        self._contents = Contents(tree)
        leaves = list(flatten_like(spec, tree, "params"))
        self.tensors = [backend.adopt(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
        for tensor in self.tensors:
            _check_dtype(tensor)
        backend.check_overlap(self.tensors)
        self.sizes = [len(tensor.flat) for tensor in self.tensors]
        ends = list(accumulate(self.sizes))
        self.size = ends[-1]
        self._slices = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        self.rounds = any(tensor.dtype != "float64" for tensor in self.tensors)
        self.mark_changed = backend.change_marker(self.tensors)
        self._checker = backend.gradient_checker(self.tensors)
        self._checker.casts = True  # a vector of float64 takes every precision
        self._launches: Launches | None = None

    def read(self, x: Any) -> None:
        """Copy the parameters to a vector."""
        for tensor, where in zip(self.tensors, self._slices, strict=True):
            tensor.pull()
            self._backend.copy_into(x[where], tensor.flat)

    def write(self, x: Any) -> None:
        """Set the parameters to a vector's values, rounded to their dtypes; ``x`` then has them,
        too."""
        self.mark_changed()
        for tensor, where in zip(self.tensors, self._slices, strict=True):
            self._backend.copy_into(tensor.flat, x[where])
            tensor.push()
        if self.rounds:
            self.read(x)

    def read_gradients(self, grads: Any, into: Any) -> None:
        """Copy gradients, checked, to a vector that is always the same; 0 for one that is None.

        Raises TypeError or ValueError for gradients that do not fit, and RuntimeError if the
        parameters are other arrays than they were.
        """
        if not self._contents.same(self._tree):
            raise RuntimeError(
                "the closure has put other arrays in the places of parameters, and those that were there "
                f"are moved; replace them between steps, in the closure write into them{see('in_place.md')}"
            )
        leaves = gradient_leaves([self._spec], flat_count([self._spec]), True, grads)
        gradients = self._checker.accept(leaves)
        try:
            if gradients.rows:
                name = self.tensors[min(gradients.rows)].name
                raise TypeError(
                    f"the gradient of {name} is of some rows only; L-BFGS takes dense gradients"
                )
            if self._launches is None:
                self._launches = self._launches_into(into)
            if None in gradients.dtypes:
                self._backend.copy_into(into, 0)
            rules = [KEEP] * len(self.tensors), [None] * len(self.tensors)
            self._launches.choose(gradients.dtypes, lambda _: rules)
            for bucket in self._launches:
                bucket.set_rows([(1.0,)])
                bucket.ready(gradients)
            for bucket in self._launches:
                bucket.run(gradients)
            for i, dtype in enumerate(gradients.dtypes):
                if dtype is not None and (kept := self._kept[i]) is not None:
                    self._backend.copy_into(into[self._slices[i]], kept)
        finally:
            gradients.release()

    def _launches_into(self, vector: Any) -> Launches:
        """Return launches that copy gradients to a vector, those of float32 by way of another."""
        self._kept: list[Any] = []
        targets = []
        for tensor, where in zip(self.tensors, self._slices, strict=True):
            direct = COMPUTE_DTYPE[tensor.dtype] == "float64"
            kept = None if direct else self._backend.zeros(len(tensor.flat), "float32")
            self._kept.append(kept)
            targets.append(tensor.with_state({"kept": vector[where] if direct else kept}))
        return Launches(self._backend, targets)


def _check_dtype(tensor: Tensor) -> None:
    """Raise TypeError for a parameter of 16 bits."""
    if tensor.dtype not in DTYPES:
        raise TypeError(
            f"{tensor.name} has dtype {tensor.dtype}; L-BFGS takes float32 and float64 (and complex "
            "numbers of them): a line search compares losses that fewer bits cannot tell apart"
            f"{see('howto/lbfgs.md')}"
        )
