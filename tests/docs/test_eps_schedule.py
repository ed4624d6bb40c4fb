"""The schedule of eps in ``docs/schedules.md`` gives the formula of Keras and Torch7."""

from __future__ import annotations

import numpy as np
import samestep as ss
from pages import PAGES
from snippets import snippets


def test_epsilon_inside_the_bias_correction(backend):
    """With gradients as small as epsilon."""
    (program,) = [each for each in snippets(PAGES["docs/schedules.md"]) if "beta2" in each.text]
    exec(program.text, names := {})
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(50)]
    param, m, v = params[0].copy(), np.zeros(50), np.zeros(50)
    usual = ss.Adam([param.copy()], lr=1e-3, eps=1e-7, backend=backend)
    ours = ss.Adam(params, lr=1e-3, eps=names["eps_inside"], backend=backend)
    for t in range(1, 21):
        grad = rng.standard_normal(50) * 1e-7
        ours.step([grad])
        usual.step([grad])
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        size = 1e-3 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        param -= size * m / (v**0.5 + 1e-7)
    np.testing.assert_allclose(params[0], param, rtol=1e-12)
    moved = usual.param_groups[0]["params"][0]
    assert abs(moved - param).max() > 1e-4, "control: the usual form differs"
