"""SOAP's bases of eigenvectors: what they are where products have no full rank, when they are
refreshed, blocks, and errors. Its steps are those of ``golden/formulas/square_states.py`` and of
the reference in ``references.py``."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, snapshot
from matrices import normal, stepped
from samestep.backends.host.backend import HostBackend
from samestep.golden.compare import assert_same_bits
from samestep.language import blocks
from samestep.language.eigenbasis import eigenbasis

OPTIONS = dict(lr=0.1, betas=(0.9, 0.99), eps=1e-3, precondition_frequency=2)
our_steps = functools.partial(stepped, ss.SOAP, OPTIONS)


def test_a_large_side_is_cut_into_blocks_of_equal_size(any_backend, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 4)
    (found,) = our_steps(any_backend, [(8, 9)])
    (start,) = normal(1, [(8, 9)])
    for rows in (slice(0, 4), slice(4, 8)):
        for columns in (slice(0, 3), slice(3, 6), slice(6, 9)):
            part = on(any_backend, [start[rows, columns].copy()])
            optimizer = ss.SOAP(part, backend=any_backend, **OPTIONS)
            for k in range(6):
                (grad,) = normal(10 + k, [(8, 9)])
                optimizer.step(on(any_backend, [grad[rows, columns].copy()]))
            np.testing.assert_allclose(found[rows, columns], off(any_backend, part)[0], rtol=1e-9)


def test_the_first_step_makes_the_bases_and_changes_nothing_else(any_backend):
    params = on(any_backend, normal(1))
    optimizer = ss.SOAP(params, backend=any_backend, **{**OPTIONS, "eps": 0.0})
    optimizer.step(on(any_backend, normal(10)))
    for found, param in zip(off(any_backend, params), normal(1), strict=True):
        assert_same_bits(found, param)
    arrays = [*optimizer.state[0].values()]
    state = dict(zip(optimizer.state[0], off(any_backend, arrays), strict=True))
    assert not state["exp_avg"].any()
    assert not state["exp_avg_sq"].any()
    assert state["row_basis"].any()


def test_bases_are_refreshed_when_they_are_due(backend):
    optimizer = ss.SOAP(normal(1), backend=backend, **{**OPTIONS, "precondition_frequency": 3})
    changed, before = [], np.zeros((6, 6))
    for step in range(1, 9):
        optimizer.step(normal(10 + step))
        now = optimizer.state[0]["row_basis"].copy()
        changed += [step] * bool((now != before).any())
        before = now
    assert changed == [1, 4, 7]


def test_a_run_goes_on_from_its_state(backend):
    whole, half = (ss.SOAP(normal(1), backend=backend, **OPTIONS) for _ in range(2))
    for k in range(4):
        whole.step(normal(10 + k))
    half.step(normal(10))
    params = [p.copy() for p in half.param_groups[0]["params"]]
    other = ss.SOAP(params, backend=backend, **OPTIONS)
    other.load_state_dict(half.state_dict())
    for k in range(1, 4):
        other.step(normal(10 + k))
    assert_same(snapshot(other), snapshot(whole))


def test_a_gradient_that_is_not_finite_spoils_its_parameter_alone(any_backend):
    params = on(any_backend, normal(1))
    optimizer = ss.SOAP(params, backend=any_backend, **OPTIONS)
    for k in range(3):
        grads = normal(10 + k)
        grads[0][0, 0] = np.inf if k == 0 else grads[0][0, 0]
        optimizer.step(on(any_backend, grads))
    first, *others = off(any_backend, params)
    assert np.isnan(first).all()
    assert all(np.isfinite(other).all() for other in others)


def test_a_vector_is_refused(backend):
    with pytest.raises(ValueError, match="soap is for matrices, parameters of two axes or more"):
        ss.SOAP(np.ones(3), backend=backend)


# ---- bases where a product of gradients has no full rank


class OtherLibrary:
    """Decompositions that are as right as NumPy's: eigenvectors, also of equal eigenvalues, and
    columns of Q have other signs, and what is left to chance is something else."""

    isfinite, where, zeros_like = np.isfinite, np.where, np.zeros_like

    class linalg:
        @staticmethod
        def eigh(matrix):
            values, vectors = np.linalg.eigh(matrix)
            null = values <= 1e-12 * max(values, default=0)
            turn, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((sum(null),) * 2))
            vectors[:, null] = vectors[:, null] @ turn
            return values, -vectors

        @staticmethod
        def qr(matrix):
            q, r = np.linalg.qr(matrix + 1e-15 * np.abs(matrix).max(initial=0))
            return -q, -r


def test_steps_do_not_depend_on_what_the_library_is_free_to_choose(monkeypatch):
    expected = our_steps("numpy")
    monkeypatch.setattr(HostBackend, "library", OtherLibrary)
    for found, param in zip(our_steps("numpy"), expected, strict=True):
        np.testing.assert_allclose(found, param, rtol=0, atol=1e-12)


def test_the_library_chooses_the_basis_of_a_null_space():
    """The control of the test above."""
    (grad,) = normal(10, [(11, 2)])
    (_, first), (_, second) = (x.linalg.eigh(grad @ grad.T) for x in (np, OtherLibrary))
    assert np.abs(np.abs(first) - np.abs(second)).max() > 0.1


def basis_of(gram, before=None):
    after = np.empty_like(gram)[None]
    given = np.zeros_like(gram) if before is None else before
    start = float(before is None)
    eigenbasis(np.matmul, gram[None], given[None], after, 1.0, start, library=np)
    return after[0]


def products():
    rng = np.random.default_rng(2)
    few, equal, some = rng.standard_normal((7, 2)), rng.standard_normal((7, 9)), np.eye(7, 3)
    equal[3] = equal[1]
    return dict(
        few=few @ few.T, equal_rows=equal @ equal.T, of_some_rows=some @ some.T, zero=np.eye(7) * 0
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", products())
def test_a_product_of_low_rank_has_an_orthonormal_basis_of_eigenvectors(name, dtype):
    gram = products()[name].astype(dtype)
    tolerance = 50 * np.finfo(dtype).eps
    start = basis_of(gram)
    random, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((7, 7)))
    for basis in (start, basis_of(gram, start), basis_of(gram, random.astype(dtype))):
        np.testing.assert_allclose(basis.T @ basis, np.eye(7), atol=tolerance)
    for basis in (start, basis_of(gram, start)):
        turned = basis.T @ gram @ basis
        off_diagonal = turned - np.diag(np.diag(turned))
        assert np.abs(off_diagonal).max() <= tolerance * max(np.abs(gram).max(), 1)


def test_a_basis_of_eigenvectors_stays_in_its_columns():
    """A direction of no gradient yet keeps its column, too."""
    (grad,) = normal(10, [(7, 3)])
    start = basis_of(grad @ grad.T)
    (more,) = normal(11, [(7, 1)])
    after = basis_of(grad @ grad.T + 1e-6 * more @ more.T, start)
    assert np.diag(start.T @ after)[:3] == pytest.approx(1, abs=1e-4)
    assert_same_bits(basis_of(0 * start, np.eye(7)), np.eye(7))
