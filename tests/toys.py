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
    "golden/formulas.py": {
        "sign = np.frompyfunc(mpmath.sign, 1, 1)\n": """

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

from ..language.dtypes import COMPUTE_DTYPE
from ..language.passes import program
from ..language.results import as_tuple
from ..language.rule import Rule
from ..printing.files.numpy_arrays import WholeArrays
from ..protocol import Availability
from .gradients import CheckedGradients
from .host.backend import HostBackend
from .host.launch import HostLaunch
from .host.arrays import ARRAYS
from .tensor import AdoptedTensor
from .torch_tensors.view import as_numpy


def availability() -> Availability:
    """Say that this backend can always run."""
    return Availability("toy", True, "a toy")


class ToyLaunch(HostLaunch):
    """Runs a rule's text on each tensor as a whole."""

    def __init__(self, rule: Rule, scalars: tuple[str, ...], param_dtype: str) -> None:
        super().__init__(param_dtype)
        self.program, self.scalars = program(rule), (*scalars, "grad_coefficient")
        self.dtype = np.dtype(COMPUTE_DTYPE[param_dtype])

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Take note of the row of scalars that applies to each tensor."""
        self.row_of_tensor = row_of_tensor

    def run(self, rows: Any, gradients: CheckedGradients, control: None) -> None:
        """Update the tensors that have a row."""
        placed = zip(self.tensors, self.positions, self.row_of_tensor, strict=True)
        for tensor, position, row in placed:
            if row >= 0 and tensor.flat.size:
                scalars = dict(zip(self.scalars, rows[row], strict=True))
                grad = ARRAYS.reals(as_numpy(gradients.arrays[position]))
                self._update(tensor, grad, SimpleNamespace(**scalars))

    def _update(self, tensor: AdoptedTensor, grad: Any, s: SimpleNamespace) -> None:
        rule, matrix = self.program.rule, self.program.matrix
        rows, columns = tensor.rows_and_columns if matrix else (tensor.flat.size, 1)
        shapes = {None: (rows, columns), "row": (rows, 1), "column": (1, columns), "tensor": (1,)}
        if not matrix:
            shapes[None] = (rows,)
        arrays = [tensor.flat.reshape(shapes[None])]
        arrays += [tensor.flat_state(n).reshape(shapes[rule.per.get(n)]) for n in rule.state]
        param, *states = (array.astype(self.dtype) for array in arrays)
        grad = s.grad_coefficient * grad.reshape(shapes[None]).astype(self.dtype)
        xp = WholeArrays(self.dtype, rows, columns if matrix else None)
        xp.storage = tensor.flat.dtype
        with np.errstate(all="ignore"):
            results = rule.update(xp, s, param, grad, *states)
            for array, value in zip(arrays, as_tuple(results), strict=True):
                array[...] = value


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
