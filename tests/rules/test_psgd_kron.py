"""PSGD-Kron's factors: what they whiten, what bounds them, when they are fitted, blocks. Its steps
are those of ``golden/formulas/square_states.py`` and of the reference in ``references.py``."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import samestep as ss
from helpers import off, on
from matrices import normal, stepped
from samestep.golden.compare import assert_same_bits
from samestep.language import blocks

OPTIONS = dict(lr=0.1, momentum=0.8, precondition_frequency=2)
our_steps = functools.partial(stepped, ss.PSGDKron, OPTIONS)


def fitted(backend, grads, **options):
    """Return the state after steps by gradients of one matrix."""
    params = on(backend, [np.zeros_like(grads[0])])
    optimizer = ss.PSGDKron(params, backend=backend, **options)
    for grad in grads:
        optimizer.step(on(backend, [grad]))
    state = optimizer.state[0]
    return dict(zip(state, off(backend, [*state.values()]), strict=True))


def test_factors_of_blocks_are_fitted_one_by_one(any_backend, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 4)
    grads = [np.kron(np.ones((2, 3)), normal(k, [(4, 3)])[0]) for k in range(5)]  # six equal blocks
    whole = fitted(any_backend, grads, **OPTIONS)
    part = fitted(any_backend, [grad[:4, :3] for grad in grads], **OPTIONS)
    for name in ("row_factor", "column_factor"):
        assert len(whole[name]) == 6
        np.testing.assert_allclose(whole[name], np.stack([part[name]] * 6), rtol=1e-12, atol=1e-12)


def test_a_gradient_that_stays_becomes_its_orthogonal_factor(any_backend):
    """The white matrix with its singular vectors, however unlike its singular values were."""
    left, _, right = np.linalg.svd(normal(3, [(4, 4)])[0])
    grad = left * [1, 0.3, 0.03, 1e-3] @ right
    params = on(any_backend, [np.zeros((4, 4))])
    optimizer = ss.PSGDKron(
        params, backend=any_backend, lr=1.0, update_rms=1.0, weight_decay=0.0, momentum=0.0
    )
    for _ in range(70):
        before = off(any_backend, params)[0].copy()
        optimizer.step(on(any_backend, [grad]))
    np.testing.assert_allclose(before - off(any_backend, params)[0], 2 * left @ right, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_damping_bounds_factors_where_there_is_no_gradient(dtype, backend):
    """A row without gradient ends where ``damping * factor^4`` is 1, and stays there."""
    grads = normal(2, [(300, 3, 4)], dtype)[0]
    grads[:, 1] = 0
    factor = fitted(backend, [*grads], damping=1e-4)["row_factor"]
    assert factor[1, 1] == pytest.approx(10, rel=0.01)
    assert 0.3 < factor[0, 0] < 3


def test_factors_begin_as_the_identity_and_are_fitted_when_they_are_due(backend):
    grads = normal(4, [(8, 3, 5)])[0]
    factors = [
        fitted(backend, [*grads[:k]], precondition_frequency=3)["row_factor"] for k in range(1, 9)
    ]
    assert_same_bits(factors[0], np.eye(3))
    changed = [k + 1 for k in range(1, 8) if (factors[k] != factors[k - 1]).any()]
    assert changed == [4, 7]


def test_a_gradient_that_is_not_finite_spoils_its_parameter_alone(any_backend):
    params = on(any_backend, normal(1))
    optimizer = ss.PSGDKron(params, backend=any_backend, **OPTIONS)
    for k in range(3):
        grads = normal(10 + k)
        grads[0][0, 0] = np.inf if k == 0 else grads[0][0, 0]
        optimizer.step(on(any_backend, grads))
    first, *others = off(any_backend, params)
    assert np.isnan(first).all()
    assert all(np.isfinite(other).all() for other in others)


def test_a_vector_is_refused(backend):
    with pytest.raises(
        ValueError, match="psgd_kron is for matrices, parameters of two axes or more"
    ):
        ss.PSGDKron(np.ones(3), backend=backend)
