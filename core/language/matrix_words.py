"""The functions of a whole matrix, as a rule's ``update`` calls them: see `matrix_functions.py`."""

from __future__ import annotations

from typing import Any

Value = Any  # an array, a tensor or a traced expression


class MatrixWords:
    """The functions of a whole matrix that ``update(xp, s, param, grad, *state)`` may call. Their
    numbers are scalars, such as ``s.steps``. A subclass defines `_of_matrix`, which all of them go
    through.
    """

    def _of_matrix(self, name: str, *args: Value, dtype: str | None = None) -> Value:
        """Return what the function of this name gives: of its values, and then its numbers.
        ``dtype`` is that of its products, where it is not the compute dtype."""
        raise NotImplementedError

    def newton_schulz(self, x: Value, *numbers: Value, dtype: str | None = None) -> Value:
        """Return `samestep.language.matrix_functions.newton_schulz` of ``x``, the parameter seen as
        a matrix: its first axis against all others. The numbers are scalars: ``s.a, s.b, s.c,
        s.steps``. ``dtype`` is that of its products, where it is not the compute dtype:
        "bfloat16"."""
        if len(numbers) % 3 != 1 or len(numbers) < 4:
            raise TypeError(
                f"newton_schulz got {len(numbers)} numbers; expected three coefficients for each step "
                "that has its own, and the number of steps"
            )
        return self._of_matrix("newton_schulz", x, *numbers, dtype=dtype)

    def row_gram(self, x: Value, before: Value, keep: Value, add: Value) -> Value:
        """Return the square state ``keep * before + add * X X^T``, a number for each pair of rows.
        ``x`` is the parameter seen as a matrix, in blocks where it is large; the numbers are
        scalars."""
        return self._of_matrix("row_gram", x, before, keep, add)

    def column_gram(self, x: Value, before: Value, keep: Value, add: Value) -> Value:
        """Return the square state ``keep * before + add * X^T X``, a number for each pair of
        columns."""
        return self._of_matrix("column_gram", x, before, keep, add)

    def inverse_root(
        self, gram: Value, before: Value, refresh: Value, scale: Value, eps: Value, exponent: Value
    ) -> Value:
        """Return ``(scale * gram + eps I)^-exponent`` of a square state, or ``before`` where the
        scalar ``refresh`` is 0."""
        return self._of_matrix("inverse_root", gram, before, refresh, scale, eps, exponent)

    def eigenbasis(self, gram: Value, before: Value, refresh: Value, start: Value) -> Value:
        """Return the eigenvectors of a square state, one a column, where the scalar ``start`` is
        not 0, else one step of power iteration from ``before``, or ``before`` where ``refresh`` is
        0."""
        return self._of_matrix("eigenbasis", gram, before, refresh, start)

    def row_whitening(
        self, x: Value, before: Value, refresh: Value, start: Value, rate: Value, damping: Value
    ) -> Value:
        """Return a square state of pairs of rows, fitted so that the rows of ``x`` become white:
        see `samestep.language.whitening.row_whitening`. The numbers are scalars."""
        return self._of_matrix("row_whitening", x, before, refresh, start, rate, damping)

    def column_whitening(
        self, x: Value, before: Value, refresh: Value, start: Value, rate: Value, damping: Value
    ) -> Value:
        """Return a square state of pairs of columns, fitted as that of rows is."""
        return self._of_matrix("column_whitening", x, before, refresh, start, rate, damping)

    def multiplied(self, x: Value, left: Value, right: Value) -> Value:
        """Return the products ``left X right`` of ``x`` with a square state of its rows and one of
        its columns."""
        return self._of_matrix("multiplied", x, left, right)

    def rotated(self, x: Value, left: Value, right: Value) -> Value:
        """Return the products ``left^T X right``."""
        return self._of_matrix("rotated", x, left, right)

    def rotated_back(self, x: Value, left: Value, right: Value) -> Value:
        """Return the products ``left X right^T``."""
        return self._of_matrix("rotated_back", x, left, right)

    def random_start(self, before: Value, first: Value, seed: Value) -> Value:
        """Return a thin state of the columns of numbers between -1 and 1, by chance, where the
        scalar ``first`` is not 0, else ``before``. They follow from the scalar ``seed``, a whole
        number up to 2**24."""
        return self._of_matrix("random_start", before, first, seed)

    def orthonormal_product(self, x: Value, right: Value) -> Value:
        """Return orthonormal columns that span those of ``X right``, a thin state of the rows: of
        ``x``, the parameter seen as a matrix, and a thin state of its columns. Columns that are too
        many are 0."""
        return self._of_matrix("orthonormal_product", x, right)

    def transposed_product(self, x: Value, left: Value) -> Value:
        """Return ``X^T left``, a thin state of the columns, of one of the rows."""
        return self._of_matrix("transposed_product", x, left)

    def unit_columns(self, x: Value, before: Value, eps: Value) -> Value:
        """Return a thin state of the columns, each of its columns divided by its norm and ``eps``;
        in the place of one of zeros that of ``before``."""
        return self._of_matrix("unit_columns", x, before, eps)

    def outer_product(self, left: Value, right: Value) -> Value:
        """Return the matrix ``left right^T`` of a thin state of the rows and one of the columns."""
        return self._of_matrix("outer_product", left, right)

    def singular_basis(self, x: Value, before: Value, refresh: Value) -> Value:
        """Return a thin state of the shorter side: the singular vectors of ``x``, the parameter
        seen as a matrix, that have the largest singular values, one a column; ``before`` where the
        scalar ``refresh`` is 0."""
        return self._of_matrix("singular_basis", x, before, refresh)

    def projected(self, x: Value, basis: Value) -> Value:
        """Return ``X basis``, or ``X^T basis`` of fewer rows than columns: a thin state of the
        longer side."""
        return self._of_matrix("projected", x, basis)

    def projected_back(self, x: Value, low: Value, basis: Value) -> Value:
        """Return the matrix, of the shape of ``x``, that a thin state of the longer side is in this
        basis."""
        return self._of_matrix("projected_back", x, low, basis)

    def running_mean(self, before: Value, x: Value, keep: Value, add: Value) -> Value:
        """Return ``keep * before + add * x`` of thin states of the longer side; the numbers are
        scalars."""
        return self._of_matrix("running_mean", before, x, keep, add)

    def running_mean_of_squares(self, before: Value, x: Value, keep: Value, add: Value) -> Value:
        """Return ``keep * before + add * x * x`` of thin states of the longer side."""
        return self._of_matrix("running_mean_of_squares", before, x, keep, add)

    def divided_by_root(self, x: Value, squares: Value, eps: Value) -> Value:
        """Return ``x / (sqrt(squares) + eps)`` of thin states of the longer side."""
        return self._of_matrix("divided_by_root", x, squares, eps)
