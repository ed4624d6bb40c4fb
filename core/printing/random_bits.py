"""The statements of printed source that make random bits, by which stored arrays are rounded."""

from __future__ import annotations

from ..language.passes import Program, Step
from ..language.rounding import KEY, SHARED, streams
from .expressions import Expressions
from .target import Lines, Target

BLOCK = 1024  # elements whose random bits are made at once


class RandomBits(Expressions):
    """The random bits of one program, whose parameters are stored in ``param_dtype``.

    ``streams`` are the numbers of the arrays that are rounded by random bits, ``buffers`` the
    arrays of such bits that the function in hand has, with their sizes; ``row_and_column`` say
    where in a matrix the element is that its loop is at.
    """

    row_and_column: tuple[str, str]

    def __init__(self, program: Program, target: Target, param_dtype: str) -> None:
        self.streams = streams(program.rule, param_dtype)
        super().__init__(program, target, bool(self.streams))

    def begin(self) -> None:
        """Start a new function."""
        super().begin()
        self.buffers: dict[str, int] = {}
        self._random = {name: self.new_name(f"{self.arrays[name]}_random") for name in self.streams}

    def random(self, array: str) -> str:
        """Return the random bits by which the element of an array that the loop is at is
        rounded."""
        if not self.layout.matrix:
            return self.target.random(self.random_name(array))
        row, column = self.row_and_column
        element = f"{row if row.isidentifier() else f'({row})'} * columns + {column}"
        self.use(f"columns {row} {column}")
        return self.helper("random_of", *self.key_and_counter(array), element)

    def random_name(self, array: str) -> str:
        """Return the variable with the random bits of some neighbours."""
        return self._random[array]

    def key_and_counter(self, array: str) -> Lines:
        """Return arguments of a helper that gives random bits: all but the element."""
        return [*self.use("random_seed random_step position").split(), str(self.streams[array])]

    def rounded(self, step: Step) -> Lines:
        """Return the names of the arrays that a step rounds by random bits."""
        return [array for array, _ in step.stores if array in self.streams]

    def random_lines(self, step: Step) -> Lines:
        """Return statements that declare the key, by which all random bits of a launch's row come,
        and what stands before the first element in its group of neighbours."""
        if not self.rounded(step):
            return []
        low, high, step_low, step_high = (
            self.target.as_integer(self.target.scalar(name, self.scalars)) for name in KEY
        )
        let = self.target.let
        lines = [
            let("random_seed", f"{low} + {high} * 65536", index=True),
            let("random_step", f"{step_low} + {step_high} * 65536", index=True),
        ]
        if self.program.matrix:
            return lines
        return lines + self.integer("skipped", f"first_element % {SHARED}", "first_element")

    def random_loops(self, step: Step, element: Lines) -> Lines:
        """Return ``element`` for each ``i``, in blocks whose random bits are made first."""
        count = self.target.let("count", self.target.smaller(str(BLOCK), "n - start"), index=True)
        fill = self.random_of_block(step, BLOCK)
        self.use("n i")
        body = [*self.integer("i", self.subscript("start + lane")), *element]
        inner = [count, *fill, *self.loop("lane", "count", body)]
        return self.loop("start", "n", inner, BLOCK)

    def random_of_block(self, step: Step, most: int) -> Lines:
        """Return statements that make the random bits of the ``count`` elements from ``start`` on,
        at ``most`` so many."""
        lines: Lines = []
        for array in self.rounded(step):
            name, more = self.random_name(array), self.key_and_counter(array)
            lines += self.target.buffer(self, name, most + SHARED)
            call = self.helper("fill_random", name, "count", *more, "first_element + start")
            lines.append(f"{call}{self.target.end}")
            self.use("first_element skipped")
        return lines
