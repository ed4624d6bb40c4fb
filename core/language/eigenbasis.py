"""The orthonormal eigenvectors of a square state of products of gradients, as SOAP refreshes them;
written once for any backend's arrays.

Such a square has a low rank while it is a sum of few products. Any basis of the rest, its null
space, is one of eigenvectors, and what a library returns there is chance. Here a fixed rule makes
it from the basis before, the identity at first, so no basis depends on the library beyond rounding:
by as much as a library's rounding moves the square, relative to the distance of its eigenvalues.
"""

from __future__ import annotations

import math
from typing import Any

from .orthonormal import fix_signs, negligible, orthonormal

Matrix = Any  # an array or tensor of two axes


def eigenbasis(
    matmul: Any,
    gram: Any,
    before: Any,
    after: Any,
    refresh: float,
    start: float,
    *,
    library: Any,
) -> None:
    """Write an orthonormal basis, one vector a column, to ``after``: ``before`` if ``refresh`` is
    0, the eigenvectors of ``gram``, the largest eigenvalue first, if ``start`` is not 0, else
    ``before`` after one step of power iteration. All are stacks of matrices.

    A matrix that is not finite has a basis of NaN. ``library`` has NumPy's ``linalg.eigh``,
    ``linalg.qr``, ``isfinite``, ``where`` and ``zeros_like``.
    """
    if refresh == 0:
        after[...] = before
        return
    finite = library.isfinite(gram).all(-1).all(-1).tolist()
    for k in range(len(finite)):
        if not finite[k]:
            after[k] = math.nan
        elif start:
            _eigenvectors(gram[k], after[k], library)
        else:
            matmul(gram[k : k + 1], before[k : k + 1], after[k : k + 1])
            _iterated(before[k], after[k], library)


def _eigenvectors(gram: Matrix, after: Matrix, library: Any) -> None:
    side = len(gram)
    values, vectors = library.linalg.eigh(gram)
    sizes = values.tolist()
    least = negligible(gram, sizes)
    order = [k for k in range(side - 1, -1, -1) if sizes[k] > least]
    found = vectors[:, order]
    fix_signs(found)
    identity = library.zeros_like(gram)
    identity.reshape(-1)[:: side + 1] = 1
    _store(found, list(range(len(order))), identity, after)


def _iterated(before: Matrix, after: Matrix, library: Any) -> None:
    """Replace ``after``, the product of a matrix and the basis ``before``, by orthonormal
    columns."""
    side = len(before)
    lengths = (before * after).sum(0).tolist()  # estimates of the eigenvalues
    order = sorted(range(side), key=lengths.__getitem__, reverse=True)
    basis, known = orthonormal(after[:, order], library)
    order = [order[k] for k in known]
    _store(basis, order, before, after)


def _store(found: Matrix, places: list[int], basis: Matrix, after: Matrix) -> None:
    """Write orthonormal columns to their places in ``after``, and in the other places columns of
    ``basis`` less what these span already: of those in the same places first, then of all others,
    those of which enough is left. As much as ``1 / side`` is left of one of them while a place is
    free."""
    side = len(after)
    free = [k for k in range(side) if k not in places]
    if places:
        after[:, places] = found
    if not free:
        return
    rest = basis[:, free + sorted(places)]
    for k in range(len(places)):
        _subtract(found[:, k : k + 1], rest)
    candidate = 0
    for place in free:
        while float((rest[:, candidate] * rest[:, candidate]).sum()) <= 0.4 / side:
            candidate += 1
        column = rest[:, candidate : candidate + 1]
        column = column * float((column * column).sum()) ** -0.5
        after[:, place : place + 1] = column
        _subtract(column, rest)
        candidate += 1


def _subtract(column: Matrix, rest: Matrix) -> None:
    """Make all columns of ``rest`` orthogonal to a column of length 1."""
    rest -= column * (column * rest).sum(0)
