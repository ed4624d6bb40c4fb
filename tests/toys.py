"""A toy rule and a toy backend, as `CONTRIBUTING.md` says to write them."""

from __future__ import annotations

RULE = '''"""A toy: the step is a running mean of the gradient, divided by its own size and one.

Nobody's paper. Deviations: none.
"""

from ..language.intervals import FRACTION
from ..language.rule import Rule


def scalars(xp, step, carry, h):
    row = dict(lr=h.lr, momentum=h.momentum, rest=1 - h.momentum, decay=h.lr * h.weight_decay)
    return row, carry


def update(xp, s, param, grad, momentum_buffer):
    momentum_buffer = s.momentum * momentum_buffer + s.rest * grad
    denom = xp.abs(momentum_buffer) + 1
    return param - (s.lr * (momentum_buffer / denom) + s.decay * param), momentum_buffer


toy = Rule(
    "toy",
    scalars,
    update,
    defaults=dict(lr=1e-2, momentum=0.9, weight_decay=0.0),
    bounds=dict(momentum=FRACTION),
    reference="none",
)
'''

# file: the line before, and the line that is added
OF_RULE = {
    "core/rules/__init__.py": {
        "from .sparseadam import sparseadam\n": "from .toy import toy\n",
        '    "SparseAdam": sparseadam,\n': '    "Toy": toy,\n',
    },
    "golden/cases.py": {
        '    "sparseadam": (dict(lr=0.02, betas=(0.9, 0.99), eps=1e-6), ADAM_LATER),\n': (
            '    "toy": (dict(lr=0.05, momentum=0.9, weight_decay=0.1), dict(lr=0.03)),\n'
        ),
    },
    "golden/formulas/classical.py": {
        "from .terms import State, Vector, average, norm, root, root_mean_square, sign\n": """

def toy(h: SimpleNamespace, t: int, p: Vector, g: Vector, s: State) -> Vector:
    m = average(s, "momentum_buffer", h.momentum, g)
    return p * (1 - h.lr * h.weight_decay) - h.lr * m / (abs(m) + 1)
""",
    },
}

BACKEND = '''"""A toy: whole arrays, one tensor after the other."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..language.passes import program
from ..language.results import as_tuple
from ..language.rule import Rule
from ..printing.files.numpy_arrays import WholeArrays
from ..protocol import Availability
from .gradients import CheckedGradients
from .host.backend import HostBackend
from .host.arrays import ARRAYS
from .host.text_launch import TextLaunch
from .tensor import AdoptedTensor
from .torch_tensors.view import as_numpy


def availability() -> Availability:
    """Say that this backend can always run."""
    return Availability("toy", True, "a toy")


class ToyLaunch(TextLaunch):
    """Runs a rule's text on each tensor as a whole."""

    def __init__(self, rule: Rule, scalars: tuple[str, ...], param_dtype: str) -> None:
        super().__init__(rule, scalars, param_dtype)
        self.matrix = program(rule).matrix

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Take note of the row of scalars that applies to each tensor."""
        self.row_of_tensor = row_of_tensor

    def run(self, rows: Any, gradients: CheckedGradients, control: None) -> None:
        """Update the tensors that have a row."""
        self.take_keys(rows)
        for i, (tensor, row) in enumerate(zip(self.tensors, self.row_of_tensor, strict=True)):
            if row >= 0 and tensor.flat.size:
                scalars = dict(zip(self.scalars, rows[row], strict=True))
                grad = ARRAYS.reals(as_numpy(gradients.arrays[self.positions[i]]))
                self._update(i, tensor, grad, SimpleNamespace(**scalars))

    def _update(self, i: int, tensor: AdoptedTensor, grad: Any, s: SimpleNamespace) -> None:
        names = ("param", *self.rule.state)
        arrays = [tensor.flat, *(self.state_of(tensor, name) for name in self.rule.state)]
        rows, columns = tensor.rows_and_columns if self.matrix else (tensor.flat.size, None)
        if self.matrix:
            shapes = {None: (rows, columns), "row": (rows, 1), "column": (1, columns)}
            shapes["tensor"] = (1,)
            pairs = zip(names, arrays, strict=True)
            arrays = [a.reshape(shapes[self.rule.per.get(name)]) for name, a in pairs]
            grad = grad.reshape(shapes[None])
        xp = WholeArrays(self.dtype, rows, columns)
        xp.storage = self.storage
        with np.errstate(all="ignore"):
            param, *states = map(self.loaded, arrays)
            grad = s.grad_coefficient * self.loaded(grad)
            results = as_tuple(self.rule.update(xp, s, param, grad, *states))
            results = [np.array(value) for value in results]  # none is another's memory
            for name, array, value in zip(names, arrays, results, strict=True):
                array[...] = self.rounded(value, name, array, [(i, 0, array.size)])


class ToyBackend(HostBackend):
    """NumPy arrays, updated as a whole."""

    name = "toy"

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> ToyLaunch:
        return ToyLaunch(rule, scalars, param_dtype)


def get_backend() -> ToyBackend:
    """Return the backend."""
    return ToyBackend()
'''

OF_BACKEND = {
    "core/choice.py": {
        '    "torch": "samestep.backends.torch",\n': '    "toy": "samestep.backends.toy",\n'
    },
}
