"""The columns of the launch tables, which printed kernels and launch code share."""

from __future__ import annotations

from ..language.blockwise import BLOCKWISE
from ..language.passes import Program, reduces_elements
from ..language.summation import CHUNK, ROW_CHUNK, STRIP_ROWS
from ..language.tracer import Expr


class Layout:
    """The columns of the launch tables of one program.

    ``table`` has a line per chunk of a tensor; if the parameter is seen as a matrix, per tile of
    it: row of scalars (negative: skip), length (elements; matrix rows), addresses of the arrays; in
    reducing programs also the line of ``tensors``, then the chunk's index in its tensor, or the
    first row and the first column of the tile. ``tensors`` has a line per tensor: row of scalars,
    matrix rows and columns (number of elements and 1, if it is not seen as a matrix), number of
    chunks (rows of a tile), addresses of the small states, then where in the workspace each of
    ``slots`` starts. A tile has up to ``tile_columns`` columns. If the program ``rounds`` by random
    bits, a line of ``table`` ends with the parameter's position in the optimizer and, of a chunk,
    the index of its first element. ``block`` says of how many elements an array has one number,
    where it is not one: of scales, and of packed codes.
    """

    def __init__(
        self, program: Program, tile_columns: int = ROW_CHUNK, rounds: bool = False
    ) -> None:
        self.tile_columns, self.rounds = tile_columns, rounds
        self.reducing = bool(program.sums or program.crossings or program.small)
        self.matrix = program.matrix
        # how many of something a tensor has: name, what it is the number of, how much is one
        self.numbers = [("chunks", "size", CHUNK)]
        if self.matrix:
            self.numbers = [("strips", "size", STRIP_ROWS), ("chunks", "columns", ROW_CHUNK)]
        self.array = {name: 2 + i for i, name in enumerate(program.arrays)}
        coded = {a: BLOCKWISE[program.rule.storage[s]] for a, s in program.rule.scales.items()}
        self.block = {a: codec.size for a, codec in coded.items()}
        packed = {program.rule.scales[a]: c.per_byte for a, c in coded.items() if c.per_byte > 1}
        self.block |= packed
        self.tensor = 2 + len(program.arrays)
        self.index = self.first_row = self.tensor + 1
        self.first_column = self.tensor + 2
        self.position = self.tensor + (3 if self.matrix else 2 if self.reducing else 0)
        self.first_element = self.position + 1
        self.table_columns = self.position + rounds * (1 if self.matrix else 2)
        self.small = {name: 4 + i for i, name in enumerate(program.small)}
        self.slots = tuple({id(n): n for n in (*program.sums, *program.crossings)}.values())
        first = 4 + len(program.small)
        self.slot = {id(node): first + i for i, node in enumerate(self.slots)}
        self.tensors_columns = first + len(self.slots)

    def slot_size(self, node: Expr) -> str:
        """Return how many numbers ``node`` needs in the workspace, as a product of ``size``,
        ``columns`` and the numbers of ``chunks`` (in a matrix, along a row) and ``strips``."""
        if reduces_elements(node):
            return {"row": "chunks * size", "column": "strips * columns", "tensor": "chunks"}[
                node.per
            ]
        if node.op == "sum":  # of a value a row: there are more strips than chunks of them
            return "strips"
        return {"row": "size", "column": "columns", "tensor": "1"}[node.per]
