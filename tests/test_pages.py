"""Programs of the pages in ``docs/`` run and do what the pages say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import samestep as ss
from helpers import ROOT


def programs(page: str) -> list[str]:
    text = Path(ROOT, "docs", page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_what_a_step_updates():
    names: dict = {}
    rebound, followed = programs("in_place.md")
    exec(rebound, names)
    (passed,) = names["opt"].param_groups[0]["params"]
    assert names["w"].tolist() == [0.0, 0.25, 0.5]
    assert passed.tolist() == pytest.approx([-0.1, 0.15, 0.4])
    exec(followed, names)
    new = names["params"]["w"]
    assert new.tolist() == pytest.approx([-0.1, 0.3, 0.9], abs=1e-6)
    assert names["opt"].param_groups[0]["params"]["w"] is new
    assert names["opt"].steps == [2]


def test_epsilon_inside_the_bias_correction(backend):
    """Against the formula of Keras and Torch7, with gradients as small as epsilon."""
    (program,) = [text for text in programs("schedules.md") if "beta2" in text]
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(50)]
    param, m, v = params[0].copy(), np.zeros(50), np.zeros(50)
    usual = ss.Adam([param.copy()], lr=1e-3, eps=1e-7, backend=backend)
    with ss.use_backend(backend):
        exec(program, names := {"params": params})
    for t in range(1, 21):
        grad = rng.standard_normal(50) * 1e-7
        names["opt"].step([grad])
        usual.step([grad])
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        size = 1e-3 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        param -= size * m / (v**0.5 + 1e-7)
    np.testing.assert_allclose(params[0], param, rtol=1e-12)
    moved = usual.param_groups[0]["params"][0]
    assert abs(moved - param).max() > 1e-4, "control: the usual form differs"
