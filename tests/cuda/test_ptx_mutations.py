"""The interpreter notices what is wrong with PTX: systematically changed kernels end in a fault, in
other bits or in another number of accesses.

A mutant meets a few large tensors only if it has passed many small ones, and what stands behind its
kernel is run only if that left other bits.

What survives (a run with ``-s`` lists it) is the same computation done otherwise: a loop that comes
to an element later, a limit that no size here meets exactly, lanes or lines that are zero,
registers that hold the same value, the way to a value that is never negative, memory read as
constant that nobody writes in this launch. The floors are some three percent below what was
measured: 88, 82, 84 and 87 %.
"""

from __future__ import annotations

import itertools
from collections import Counter

import ml_dtypes
import numpy as np
import ptx
import pytest
import samestep as ss
from printed import ALL
from printed_backend import lying_at
from ptx_backend import InterpretedLaunch, PtxBackend, accesses
from ptx_machine import Machine
from ptx_mutators import mutants
from ptx_operations import Fault
from samestep import choice as known_backends
from samestep.backends.host.backend import HostBackend
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype
from samestep.language.passes import program
from samestep.printing.cuda import BLOCK
from variants import options_of

pytestmark = pytest.mark.whole

AT_MOST = 120  # mutants of a rule that are run, evenly spread
# A mutant meets those of the second line if it has passed those of the first.
SHAPES = [[(37,), (1300,), (5, 3), (3, 300), *[(20,)] * 6], [(66_000,), *[(40,)] * 36]]
# of rules that sum rows and columns: one and several chunks of a row, strips and tiles, more than
# are added at once (8); full and ragged ones; a row of threads whose last, last two or last three
# have no column
MATRICES = [
    [(3, 1100), (130, 5), (5, 3), (66, 300), (1, 1), (2, 700), (130, 256), (9, 17), (4, 33), (2, 900),
     (1, 9300), (1, 1024)],
    [(520, 513), (8200, 1)],
]  # fmt: skip
NO_GRADIENT = 8  # the position of a tensor that the step leaves alone
# of the tensor, how many elements each array lies behind alignment: parameter, gradient, states;
# then those where all but one begin a group together
OFFSETS = [(1, 1, 1, 1), (0, 0, 0, 0), (2, 2, 2, 2), (0, 0, 0, 0), (3, 3, 3, 3), (1, 0, 0, 0),
           (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (2, 1, 2, 2)]  # fmt: skip
OFFSETS += [
    tuple(together + 1 if array == other else together for array in range(4))
    for together in range(7, 0, -1)
    for other in range(4)
]
# of two groups, so that every hyperparameter changes results and every maximum has either side
HYPER = {
    "adamw": [dict(eps=0.1, weight_decay=0.1), dict(lr=0.01)],
    "lamb": [dict(eps=0.1, weight_decay=0.1), dict(lr=0.01)],
    "adafactor": [
        dict(eps=(0.3, 1e-3), d=0.05, weight_decay=0.1),
        dict(eps=(0.1, 5.0), d=40.0, weight_decay=0.2, lr=0.01),
    ],
}


class Case:
    """The launches of a third step, each to be repeated with another kernel."""

    def __init__(
        self, label: str, dtype: str, shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        case = self

        class Recorded(InterpretedLaunch):
            def run(self, rows, gradients, control):
                case.launch, case.machines = self, self.machines
                rows[:, -1] = np.linspace(-0.75, 1.5, len(rows))
                super().run(rows, gradients, control)

            def execute(self, launches, arguments, written, only_read):
                case.launches, case.memory = launches, (arguments, written, only_read)
                case.before = []
                case.accesses = []
                for name, grid in launches:
                    case.before.append([array.copy() for array in written])
                    machine = self.machines.setdefault(
                        (name, grid), Machine(self.kernels[name], grid, BLOCK)
                    )
                    case.accesses.append(accesses(machine, *case.memory))
                case.before.append([array.copy() for array in written])

        monkeypatch.setitem(known_backends.BUILT_IN, "ptx", "ptx_backend")
        monkeypatch.setattr(PtxBackend, "launches", Recorded)
        rng = np.random.default_rng(5)
        rule = ALL[label]
        offsets = list(itertools.islice(itertools.cycle(OFFSETS), len(shapes)))

        def arrays(which):
            numbers = [rng.standard_normal(shape) for shape in shapes]
            if not program(rule).sums:  # else they would be everywhere
                numbers[0][-3:] = np.nan, np.inf, float(ml_dtypes.finfo(dtype).max)
            elif not program(
                rule
            ).matrix:  # a norm of a parameter is 0, then that of its update, too
                numbers[-2][...], numbers[-1][...] = which, 0
            return [
                lying_at(array.astype(numpy_dtype(dtype)), offset[which])
                for array, offset in zip(numbers, offsets, strict=True)
            ]

        of_states = iter([*offsets[::2], *offsets[1::2]])

        def new_state(backend, tensor, rule, hyper):
            state = HostBackend.new_state(backend, tensor, rule, hyper)
            places = zip(state.items(), next(of_states)[2:], strict=False)
            return {name: lying_at(array, offset) for (name, array), offset in places}

        monkeypatch.setattr(PtxBackend, "new_state", new_state)
        params = arrays(0)
        groups = [{"params": params[k::2], **hyper} for k, hyper in enumerate(HYPER[rule.name])]
        optimizer = ss.Optimizer(rule, groups, backend="ptx", **options_of(rule))
        for step in range(3):
            grads = arrays(1)
            if step == 2 and len(shapes) > NO_GRADIENT:
                grads[NO_GRADIENT] = None
            optimizer.step([grads[::2], grads[1::2]])
        self.optimizer = optimizer  # whose arrays they are
        self.control = self.memory[0][3]
        self.longest = max(machine.executed for machine in self.machines.values())
        self.of_skipped = [
            self._skipped(k, self.machines[self.launches[k]]) for k in range(len(self.launches))
        ]

    def of(self, name: str) -> list[Machine]:
        """The machines that have run a kernel."""
        return [machine for (kernel, _), machine in self.machines.items() if kernel == name]

    def _skipped(self, k: int, machine: Machine) -> int:
        """The accesses of a kernel in a step that is left out."""
        self.control[1] = 1
        try:
            return accesses(machine, *self.memory)
        finally:
            self.control[1] = 0

    def _is_as(self, k: int, count: int | None = None) -> bool:
        """Whether the first ``count`` arrays have the bits they have before launch ``k``."""
        results = zip(self.memory[1][:count], self.before[k][:count], strict=True)
        return all(first_difference(a, b) is None for a, b in results)

    def notices(self, name: str, kernel: ptx.Kernel) -> str:
        """How a kernel in place of the right one is noticed; "" if it is not."""
        k = [launched for launched, _ in self.launches].index(name)
        machine = Machine(kernel, self.launches[k][1], BLOCK)
        machine.most = 2 * self.longest
        for array, start in zip(self.memory[1], self.before[k], strict=True):
            array[...] = start
        try:
            if self._skipped(k, machine) != self.of_skipped[k] or not self._is_as(k):
                return "does not skip"
            count = accesses(machine, *self.memory)
            if not self._is_as(k + 1):
                for later in self.launches[k + 1 :]:
                    accesses(self.machines[later], *self.memory)
                if not self._is_as(-1, len(self.launch.arrays)):
                    return "other bits"
        except Fault as fault:
            return str(fault).partition(":")[0]
        return "other accesses" if count != self.accesses[k] else ""


@pytest.mark.parametrize(
    ("label", "dtype", "floor"),
    [("adamw", "float32", 0.85), ("adamw", "bfloat16", 0.78), ("lamb", "float32", 0.81),
     ("adafactor", "float32", 0.84)],
)  # fmt: skip
def test_mutants_are_noticed(label, dtype, floor, monkeypatch):
    shapes = MATRICES if program(ALL[label]).matrix else SHAPES
    cases = [Case(label, dtype, each, monkeypatch) for each in shapes]
    kernels = cases[0].launch.kernels
    reached = {
        name: np.any([machine.reached for case in cases for machine in case.of(name)], axis=0)
        for name in kernels
    }
    every = [
        (name, kind, place, kernel)
        for name, right in kernels.items()
        for kind, place, kernel in mutants(right)
        if reached[name][place]
    ]
    chosen = every[:: max(1, len(every) // AT_MOST)]
    noticed, survivors = Counter(), []
    for name, kind, place, kernel in chosen:
        how = next(filter(None, (case.notices(name, kernel) for case in cases)), "")
        noticed[how] += bool(how)
        if not how:
            survivors.append(f"{name}: {kind}: {kernels[name].code[place].text}")
    share = 1 - len(survivors) / len(chosen)
    share_reached = np.concatenate(list(reached.values())).mean()
    print(
        f"{label} {dtype}: {share:.1%} noticed of {len(chosen)} mutants (of {len(every)}); "
        f"{share_reached:.0%} of the instructions reached; {noticed}\n" + "\n".join(survivors)
    )
    assert share >= floor, "\n".join(survivors)
    for case in cases:  # the right ones are not
        assert [case.notices(*right) for right in kernels.items()] == [""] * len(kernels)
