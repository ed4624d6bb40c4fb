"""States in blocks and gradients of some rows: rows of whole blocks step, and no other row
changes."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import off, on, refused, snapshot, step
from samestep.golden.compare import first_difference

CODECS = {"exp_avg": "int8", "exp_avg_sq": "udynamic8"}


def made(backend: str, param: np.ndarray, **hyper) -> ss.Optimizer:
    hyper = dict(state_dtype=CODECS, lazy=True) | hyper
    return ss.AdamW(on(backend, [param]), lr=0.1, backend=backend, **hyper)


@pytest.mark.parametrize(
    ("rows", "codecs"), [((256,), CODECS), ((2, 128), CODECS), ((3, 128), "int4")], ids=str
)
def test_named_rows_step_as_a_tensor_of_them_and_others_stay(any_backend, rows, codecs):
    rng = np.random.default_rng(2)
    start = rng.standard_normal((6, *rows)).astype(np.float32)
    grads = [rng.standard_normal((3, *rows)).astype(np.float32) for _ in range(3)]
    dense = rng.standard_normal(start.shape).astype(np.float32)
    whole, some = (made(any_backend, each, state_dtype=codecs) for each in (start, start[[1, 4]]))
    step(whole, [dense])  # so that no state is zero
    step(some, [dense[[1, 4]]])
    before = snapshot(whole)
    for grad in grads:
        step(whole, [ss.IndexedSlices(grad, np.array([4, 1, 4]))])
        step(some, [np.stack([grad[1], grad[0] + grad[2]])])
    after, expected = snapshot(whole), snapshot(some)
    for name in ("param 0", "exp_avg 0", "exp_avg_sq 0", "exp_avg_scale 0", "exp_avg_sq_scale 0"):
        by_row = [each[name].reshape(6, -1) for each in (before, after)]
        assert first_difference(by_row[1][[1, 4]].reshape(-1), expected[name].reshape(-1)) is None
        others = [each[[0, 2, 3, 5]] for each in by_row]
        assert first_difference(others[1], others[0]) is None
        assert first_difference(by_row[1], by_row[0]) is not None  # the control


@pytest.mark.parametrize(("row", "size"), [(3, 128), (384, 256)])
def test_rows_that_share_a_block_are_refused(any_backend, row, size):
    optimizer = made(any_backend, np.ones((4, row), np.float32))
    grad = on(any_backend, ss.IndexedSlices(np.ones((1, row), np.float32), np.array([1])))
    with refused(
        optimizer, TypeError, rf"of rows of {row}; .* in blocks of {size}, of which other"
    ):
        optimizer.step([grad])


def test_rows_along_two_axes_of_a_sparse_tensor():
    torch = pytest.importorskip("torch")
    params = [torch.ones(2, 3, 256) for _ in range(2)]
    optimizers = [ss.AdamW([p], lr=0.1, state_dtype=CODECS, lazy=True) for p in params]
    values, where = torch.full((1, 256), 0.5), torch.tensor([[1], [2]])
    grad = torch.sparse_coo_tensor(where, values, (2, 3, 256), check_invariants=True)
    optimizers[0].step([grad])
    optimizers[1].step([ss.IndexedSlices(grad.to_dense()[1:], torch.tensor([1]))])
    found, expected = (
        off(each.backend.name, each.state[0]["exp_avg_scale"]) for each in optimizers
    )
    assert found.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, *expected[-2:]]
    assert expected[-1] > 0
