"""The columns of the launch tables, which printed kernels and launch code share."""

from __future__ import annotations

from ..language.passes import Program, statements
from ..language.tracer import Expr


class Layout:
    """The columns of the launch tables of one program.

    ``table`` has a line per chunk: row of scalars (negative: skip), length (elements; matrix rows,
    if the parameter is seen as a matrix), addresses of the arrays; in reducing programs also the
    line of ``tensors`` and the chunk's index in its tensor. ``tensors`` has a line per tensor:
    row of scalars, matrix rows and columns (number of elements and 1, if it is not seen as a matrix),
    number of chunks, addresses of the small states, then where in the workspace each of
    ``slots`` starts.
    """

    def __init__(self, program: Program) -> None:
        self.reducing = bool(program.sums or program.crossings or program.small)
        self.array = {name: 2 + i for i, name in enumerate(program.arrays)}
        self.tensor = 2 + len(program.arrays)
        self.index = self.tensor + 1
        self.table_columns = self.index + 1 if self.reducing else self.tensor
        self.small = {name: 4 + i for i, name in enumerate(program.small)}
        slots = {id(node): node for node in (*program.sums, *program.crossings)}
        for step in program.folds:
            slots |= {id(n): n for n in statements(step) if n.per in ("row", "column")}
        self.slots = tuple(slots.values())
        first = 4 + len(program.small)
        self.slot = {id(node): first + i for i, node in enumerate(self.slots)}
        self.tensors_columns = first + len(self.slots)
        self.matrix = program.matrix

    def slot_size(self, node: Expr, size: str, columns: str, chunks: str) -> str:
        """Return how many numbers ``node`` needs in the workspace, as an expression of the given names."""
        if node.op == "sum" and node.args[0].per == "element":
            if node.per == "column":
                return f"{chunks} * {columns}"
            return size if self.matrix else chunks
        return {"row": size, "column": columns, "tensor": "1"}[node.per]
