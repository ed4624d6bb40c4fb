"""A target of printing: the table of what one language writes differently from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from ..language.blockwise import Blockwise
from ..language.passes import Step
from ..language.summation import CHUNK, LANES, ROW_CHUNK, ROW_LANES

Lines = list[str]


class Launch(NamedTuple):
    """A call of a printed function: ``over`` the lines of ``table`` or of ``tensors``. If it is
    ``divisible``, several blocks may share a line."""

    name: str
    over: str
    divisible: bool


class Target:
    """One language, for arithmetic in one compute dtype.

    The class attributes are a table of words, the methods write expressions and statements.
    """

    reserved: ClassVar[frozenset[str]] = frozenset()  # names that no variable may have
    helpers: ClassVar[dict[str, str]] = {}  # texts of functions, in the order of a file
    needed_by: ClassVar[dict[str, tuple[str, ...]]] = {}  # calls that need it, if not its own
    tile_columns = 16 * ROW_CHUNK  # of a tile at most: whole chunks, long enough to be read ahead
    block = LANES  # elements that an inner loop takes in a rule that reduces; divides LANES
    threads = ("0", "1")  # start and stride of a loop that the threads of a block share
    barrier: ClassVar[Lines] = []  # where threads wait for each other
    once = ""  # stands before a statement that one thread executes
    const = ""  # stands before the declaration of a scalar
    end = ""  # of a statement
    quotient = " / "  # of two integers that are not negative
    fetches_ahead = False  # inner loops ask for the memory of those that follow
    warns_of_unused = False  # so that integers are declared only where they are used
    prefix = ""  # of the names of helper functions

    def __init__(self, compute: str) -> None:
        self.compute = self.real = compute

    # ---- statements

    def loop(self, variable: str, count: str, body: Lines, first: str, step: str) -> Lines:
        """Return ``body`` for each ``variable`` from ``first`` on and below ``count``."""
        raise NotImplementedError

    def when(self, condition: str, body: Lines) -> Lines:
        """Return ``body`` for where a condition holds."""
        raise NotImplementedError

    def let(self, name: str, value: str, *, index: bool = False) -> str:
        """Declare a variable of the compute dtype, or an integer."""
        return self.assign(name, value)

    def assign(self, place: str, value: str) -> str:
        return f"{place} = {value}{self.end}"

    def buffer(self, printer: Any, name: str, size: int) -> Lines:
        """Return the declaration of so many integers of 16 bits, in the loop that uses them."""
        raise NotImplementedError

    def zero_lanes(self, name: str, lanes: int) -> Lines:
        """Set ``width`` of that many lanes to zero."""
        raise NotImplementedError

    def room(self, printer: Any, name: str, count: int) -> Lines:
        """Declare an array of so many numbers, in a loop."""
        raise NotImplementedError

    def codes(self, printer: Any, name: str, count: int) -> Lines:
        """Declare an array of so many codes, in a loop."""
        raise NotImplementedError

    def packed(self, codes: str, start: str) -> Lines:
        """Return the place of the codes, two in a byte, from element ``start`` on, as arguments."""
        raise NotImplementedError

    def block_arguments(
        self,
        values: str,
        codes: str,
        scales: str,
        codec: Blockwise,
        code: str,
        part: str,
        room: str | None = None,
    ) -> Lines:
        """Return the arguments of ``store_block``: ``count`` values, of which the first one is
        element ``start``, or the block of them that begins at ``part``; where their codes and scale
        go, the codes to ``room`` if it is given; and what the codes are read by."""
        raise NotImplementedError

    def flat_loops(self, printer: Any, step: Step, element: Lines) -> Lines:
        """Return the loops over the elements of a chunk or tensor. ``printer`` is the `Printer`."""
        loops: Lines = printer.flat_loops(step, element)
        return loops

    def fold_chunk(self, printer: Any, lanes: str) -> str:
        """Return the sum of the lanes of a whole chunk of a row."""
        folded: str = printer.helper("fold", lanes, str(ROW_LANES))
        return folded

    def tile_loops(self, printer: Any, step: Step, per_row: Lines, element: Lines) -> Lines:
        """Return ``per_row`` for each row ``r`` of a tile and ``element`` for each of its
        elements."""
        raise NotImplementedError

    def share_loops(self, printer: Any, step: Step, per_row: Lines, element: Lines) -> Lines:
        """Return ``element`` for each element of a tile's share, which is in row ``r``, and
        ``per_row`` for that row; see `samestep.printing.shares`."""
        raise NotImplementedError

    def vector_loop(self, printer: Any, variable: str, count: str, body: Lines) -> Lines:
        """Return the loop over numbers that a fold has for each row or column."""
        loop: Lines = printer.loop(variable, count, body)
        return loop

    def sum_as_row(self, printer: Any, values: str, sums: str) -> str:
        """Return the statement that sums the vector at ``values`` of the workspace to ``sums``."""
        part = self.part(printer.use(values), printer.use("size"))
        return f"{printer.helper('sum_as_row', *part, self.behind(printer.use(sums)))}{self.end}"

    def fold_launches(self, printer: Any, name: str, fold: Step) -> list[Launch]:
        """Return the launches of a fold; ``name`` is its own."""
        return [Launch(name, "tensors", False)]

    # ---- expressions

    def constant(self, value: float) -> str:
        raise NotImplementedError

    def typed_constant(self, value: float) -> str:
        """Return a constant of the compute dtype, where nothing beside it says that it is one."""
        return self.constant(value)

    def where(self, condition: str, a: str, b: str) -> str:
        raise NotImplementedError

    def smaller(self, a: str, b: str) -> str:
        """Return the smaller of two integers."""
        raise NotImplementedError

    def as_value(self, count: str) -> str:
        """Return an integer as a value of the compute dtype."""
        raise NotImplementedError

    def as_integer(self, value: str) -> str:
        """Return a whole number of the compute dtype as an integer."""
        raise NotImplementedError

    def random(self, name: str) -> str:
        """Return the random bits for one of some neighbours whose bits are in the variable
        ``name``."""
        return f"{name}[{self.subscript('skipped + lane')}]"

    def function(self, op: str) -> str:
        """Return the name of the library's function for ``op``."""
        return op

    def scalar(self, name: str, scalars: Sequence[str]) -> str:
        """Return the place of one of a row's ``scalars``."""
        raise NotImplementedError

    def part(self, start: str, count: str) -> Lines:
        """Return part of the workspace as arguments of a helper."""
        raise NotImplementedError

    def behind(self, start: str) -> str:
        """Return the workspace from there on."""
        raise NotImplementedError

    def lines(self, start: str, count: str, width: str) -> Lines:
        """Return so many lines of the workspace as arguments of ``add_lines``."""
        raise NotImplementedError

    def subscript(self, value: str) -> str:
        """Return an integer that is never negative, as an index."""
        return value

    # ---- files

    def helper_texts(self, called: set[str]) -> str:
        """Return the texts of the helpers that were ``called``, and of those that they call."""
        text = "".join(
            text
            for name, text in self.helpers.items()
            if called & {*self.needed_by.get(name, (name,))}
        )
        constants = {"ROW_LANES": ROW_LANES, "ROW_CHUNK": ROW_CHUNK, "LANES": LANES, "CHUNK": CHUNK}
        for word, number in constants.items():
            text = text.replace(word, str(number))
        return text.replace("REAL", self.real)

    def source(self, printer: Any) -> str:
        """Return the text of a module or file with all passes and folds of a `Printer`."""
        raise NotImplementedError


def indented(lines: Lines) -> Lines:
    """Return ``lines``, four spaces to the right."""
    return [f"    {line}" for line in lines]
