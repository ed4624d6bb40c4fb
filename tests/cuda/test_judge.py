"""The kernel that decides about a step: compiled, read and interpreted as the printed ones are."""

from __future__ import annotations

import numpy as np
import nvrtc
import ptx
import pytest
from cubin import resources
from ptx_machine import Machine
from ptx_memory import GlobalMemory
from samestep.backends.cuda.judge import NAME, SOURCE
from samestep.language.summation import fold_by_halves
from samestep.printing.cuda import BLOCK
from test_ptx_text import complaints


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_it_compiles_and_is_exact(architecture, tmp_path):
    used = resources(nvrtc.cubin(SOURCE, architecture), tmp_path)[NAME]
    assert not used["STACK"]
    assert not complaints(ptx.read(nvrtc.ptx(SOURCE, architecture))[NAME])


@pytest.mark.parametrize("architecture", ["75", "120"])
@pytest.mark.parametrize("n", [1, 5, 700])
def test_it_computes_norm_factor_and_whether_to_skip(n, architecture):
    rng = np.random.default_rng(n)
    squares = rng.random(n).astype(np.float32), rng.random(n)
    limit, workspace, control = np.array([0.5]), np.full(n, np.nan), np.zeros(3)
    machine = Machine(ptx.read(nvrtc.ptx(SOURCE, architecture))[NAME], (1, 1), BLOCK)
    for bad in (False, True):
        differences = np.zeros(n, np.float32)
        differences[-1:] = np.nan if bad else 0
        arrays = [*squares, differences, workspace, limit, control]
        first, second, third, *rest = [np.uint64(array.ctypes.data) for array in arrays]
        arguments = [first, second, third, np.uint64(0), np.int64(n), *rest]
        machine.run(arguments, GlobalMemory(arrays))
        norm = np.sqrt(fold_by_halves(squares[0].astype(np.float64) + squares[1]))
        assert control.tolist() == [0.5 / norm if norm > 0.5 else 1.0, float(bad), norm]
