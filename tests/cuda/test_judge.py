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


def judged(architecture, look, sums, numbers, control):
    """What one block makes of these sums, single and double, in ``control``."""
    workspace = np.full(len(sums[0]), np.nan)
    machine = Machine(ptx.read(nvrtc.ptx(SOURCE, architecture))[NAME], (1, 1), BLOCK)
    arrays = [*sums, workspace, numbers, control]
    single, double, *rest = [np.uint64(array.ctypes.data) for array in arrays]
    machine.run(
        [single, double, np.int64(len(sums[0])), np.int64(look), *rest], GlobalMemory(arrays)
    )
    return control.tolist()


@pytest.mark.parametrize("architecture", ["75", "120"])
@pytest.mark.parametrize("n", [1, 5, 700])
def test_it_computes_norm_factor_and_whether_to_skip(n, architecture):
    rng = np.random.default_rng(n)
    sums = rng.random(n).astype(np.float32), rng.random(n)
    numbers, control = np.array([0.5, 2.0**-96]), np.zeros(5)
    norm = np.sqrt(fold_by_halves(sums[0].astype(np.float64) + sums[1]))
    factor = 0.5 / norm if norm > 0.5 else 1.0
    assert judged(architecture, 1, sums, numbers, control) == [0, 0, 0, 2.0**-96, 1]
    assert judged(architecture, 2, sums, numbers, control)[:3] == [factor, 0, norm]
    control[4] = 0  # had they been measured again
    far = judged(architecture, 2, sums, numbers, control)
    assert far[:3] == [0.5 / (norm * 2.0**96), 0, norm * 2.0**96]
    for bad in (np.nan, np.inf):
        sums[0][-1] = bad
        assert judged(architecture, 1, sums, numbers, control)[3:] == [2.0**-96, 0]
        assert judged(architecture, 2, sums, numbers, control)[1] == 1


@pytest.mark.parametrize("bad", [False, True])
def test_it_skips_where_a_difference_is_not_zero(bad):
    differences = np.zeros(7, np.float32), np.zeros(7)
    differences[0][3] = np.nan if bad else 0
    control = judged("75", 0, differences, np.zeros(2), np.full(5, 7.0))
    assert control == [1, float(bad), 0, 7, 7]
