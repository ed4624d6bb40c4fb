"""The printer of a program: it writes the loops around a rule's text.

What is computed, and in which order, is written here once; a `Target` says how a language puts it.
"""

from __future__ import annotations

import textwrap

from ..language.dtypes import COMPUTE_DTYPE
from ..language.passes import Program, Step, statements
from ..language.summation import LANES, ROW_CHUNK
from ..language.tracer import Expr
from .blocks import Blocks
from .target import Launch, Lines, Target


class Printer(Blocks):
    """Prints the passes and folds of one program, for one target and pair of storage dtypes.

    ``prefix`` begins the names of helper functions.
    """

    def __init__(
        self, program: Program, param_dtype: str, grad_dtype: str, target: type[Target], prefix: str = ""
    ) -> None:  # fmt: skip
        made = target(COMPUTE_DTYPE[param_dtype])
        made.prefix = prefix
        super().__init__(program, made, param_dtype, grad_dtype)

    def dtype_of(self, array: str) -> str:
        """Return what an array is stored in; one that is smaller than the parameter in what is
        computed in."""
        return self.stored.get(array, self.compute)

    @property
    def codecs(self) -> str:
        """The lines that say which states codecs store and which arrays are rounded by random bits;
        empty where there are none."""
        of_codec: dict[str, list[str]] = {}
        for name, codec in self.rule.storage.items():
            of_codec.setdefault(codec, []).append(name)
        listed = "; ".join(f"{', '.join(names)} in {c}" for c, names in of_codec.items())
        lines = [f"States: {listed}."] if listed else []
        lines += [f"Rounded by random bits: {', '.join(self.streams)}."] if self.streams else []
        return "".join(f"\n{textwrap.fill(line, 94)}" for line in lines)

    def source(self) -> str:
        """Return the text of all passes and folds, with what they need."""
        return self.target.source(self)

    def functions(self) -> list[Launch]:
        """Return the launches in their order."""
        return [each for kind, k in self.program.launches for each in self.launches_of(kind, k)]

    def launches_of(self, kind: str, k: int) -> list[Launch]:
        """Return the launches of a pass or fold, each with a function."""
        name = self.name_of(kind, k)
        if kind == "pass":
            return [Launch(name, "table", self.divisible(self.program.passes[k]))]
        return self.target.fold_launches(self, name, self.program.folds[k])

    def name_of(self, kind: str, k: int) -> str:
        """Return the name of the function of a pass or fold."""
        return (
            f"{self.rule.label}_{kind}{k}" if self.layout.reducing else f"{self.rule.label}_update"
        )

    def divisible(self, step: Step) -> bool:
        """Return true if the order of the step's sums, if it has any, lies within a row."""
        return all(node.per == "row" for node in step.sums)

    def begin(self) -> None:
        """Start a new function. ``lanes`` are its arrays of lanes and their sizes."""
        super().begin()
        self.lanes: dict[str, int] = {}

    # ---- parts of statements

    def shared_loop(self, variable: str, count: str, body: Lines) -> Lines:
        """Return a loop that the threads of a block share, where there are several."""
        return self.target.loop(variable, self.use(count), body, *self.target.threads)

    def in_workspace(self, node: Expr, position: str = "") -> str:
        """Return the place of one of the numbers that the workspace holds of ``node``."""
        slot = self.use(self.slot_name[id(node)])
        place = f"{slot} + {self.use(position)}" if position else slot
        return f"{self.use('workspace')}[{self.subscript(place) if position else place}]"

    def load(self, array: str) -> str:
        """Return an element of an array in the compute dtype."""
        dtype, place = self.stored[array], self.element(array)
        if codec := self.blocks.get(array):
            name = "from_map" if codec.most is None else "from_root"
            return self.helper(name, place, self.scale_name[array], self.code(codec))
        return place if dtype == self.compute else self.helper(f"from_{dtype}", place)

    def store(self, array: str, value: str) -> str:
        """Return the statement that stores ``value``, rounded once; of a state that has blocks, one
        that keeps it until its block is known."""
        if array in self.blocks:
            return self.target.assign(self.new_value(array), value)
        dtype = self.stored[array]
        if array in self.streams:
            value = self.helper(f"round_to_{dtype}", value, self.random(array))
        elif dtype != self.compute:
            value = self.helper(f"to_{dtype}", value)
        return self.target.assign(self.element(array), value)

    def element(self, array: str) -> str:
        """Return the element of an array that the loop is at; of one with two codes in a byte, its
        code."""
        if array in self.placed:
            return self.placed[array]
        if array in self.codes_of_block:
            return f"{self.codes_of_block[array]}[{self.subscript('lane')}]"
        return f"{self.arrays[array]}[{self.use('i')}]"

    def scalar(self, name: str) -> tuple[str, str]:
        """Return the variable of a scalar and the statement that declares it."""
        local = self.new_name(name) if name != "grad_coefficient" else name
        value = self.target.scalar(name, self.scalars)
        return local, f"{self.target.const}{self.target.let(local, value)}"

    def scalar_lines(self, step: Step) -> Lines:
        """Return statements that declare the step's scalars."""
        lines = []
        for node in step.nodes:
            if node.op == "scalar":
                self.text_of[id(node)], line = self.scalar(str(node.name))
                lines.append(line)
        return lines

    # ---- passes

    def pass_body(self, step: Step) -> Lines:
        """Return the loops of one pass over one chunk or tile; the arrays are known, ``n`` and the
        chunk's ``index``, or the tile's ``height``, ``tile_width``, ``first_row`` and
        ``first_column``, and ``columns``."""
        let = self.target.let
        before = self.scalar_lines(step)
        self.row_and_column = "first_row + r", "first_column + column"
        if self.in_order(step):
            self.row_and_column = "r", "column"
        row, column = self.row_and_column
        per_row: Lines = []
        element: Lines = []
        for node in step.received:
            name = self.new_name(node.name or "value")
            self.text_of[id(node)] = name
            if node.per == "tensor":
                before.append(let(name, self.in_workspace(node)))
            elif node.per == "row":
                per_row.append(let(name, self.in_workspace(node, row)))
            else:
                element.append(let(name, self.in_workspace(node, column)))
        if "grad" in step.loads:
            coefficient, line = self.scalar("grad_coefficient")
            before.append(line)
        held = dict(step.reloaded)
        for node in step.nodes:
            array = held.get(id(node), str(node.name) if node.op == "input" else None)
            if array is not None and node.per == "element":
                self.text_of[id(node)] = name = self.new_name(array)
                element += self.in_tile(step, array)
                value = self.load(array)
                element.append(let(name, f"{coefficient} * {value}" if array == "grad" else value))
        element += self.assignments(statements(step), step)
        element += [self.store(array, self.text(expr)) for array, expr in step.stores]
        if self.in_order(step):
            loops = self.target.share_loops(self, step, per_row, element)
        elif self.program.matrix:
            loops = self.target.tile_loops(self, step, per_row, element)
        else:
            loops = self.target.flat_loops(self, step, element)
        return before + self.random_lines(step) + loops

    def flat_loops(self, step: Step, element: Lines) -> Lines:
        """Return ``element`` for each ``i``; around sums in blocks of whose elements each has its
        ``lane``."""
        block, blocks = self.target.block, self.blocks_of(step)
        if blocks:
            block = self.longest_block(step)
        elif self.rounded(step):  # the last pass, in which nothing is summed
            return self.random_loops(step, element)
        elif not self.program.sums or not (step.sums or block < LANES):
            return self.shared_loop("i", "n", element)
        lines = [self.width("n", LANES)] if step.sums else []
        body = self.integer("i", self.subscript("start + lane"))
        body += [*self.block_scales(step, block, "(start + lane)"), *element]
        before, lane = self.block_scales(step, block, "start"), "lane"
        if step.sums and block < LANES:
            lane = self.subscript(f"{self.use('first_lane')} + lane")
            before += self.integer("first_lane", f"start % {LANES}")
        for node in step.sums:
            lines += self.zero_lanes(node, LANES)
            body.append(self.add(f"{self.lanes_name[id(node)]}[{lane}]", node))
        inner = before + self.lane_loop(step, "start", block, "n - start", body)
        inner += self.stored_blocks(step, block)
        lines += self.loop("start", "n", inner, block)
        for node in step.sums:
            lines += self.folded(node, "index")
        return lines

    def tile_width(self) -> Lines:
        """Return the declaration of how many columns a tile has."""
        width = self.target.smaller(str(self.layout.tile_columns), "columns - first_column")
        return self.integer("tile_width", width, "columns first_column")

    def tile_lines(self, nodes: list[Expr], column: str = "(first_column + chunk)") -> Lines:
        """Return where in the workspace a chunk's part of sums along rows begins."""
        lines = []
        for node in nodes:
            slot = self.use(f"{self.slot_name[id(node)]} size first_column first_row").split()[0]
            chunk = f"{column}{self.target.quotient}{ROW_CHUNK}"
            value = f"{slot} + {chunk} * size + first_row"
            lines.append(self.target.let(self.line_name[id(node)], value, index=True))
        return lines

    def lane_loop(self, step: Step, first: str, most: int, left: str, body: Lines) -> Lines:
        """Return the inner loop: ``body`` for every ``lane`` of the elements that are ``left``, but
        ``most`` at a time. ``first`` is the element behind which memory is asked for."""
        count = self.target.smaller(str(most), self.use(left))
        if (
            self.blocks_of(step) and not self.program.matrix
        ):  # have so much to compute that memory does not wait
            random = self.random_of_block(step, most)
            number = self.target.let("count", count, index=True)
            codes = self.unpacked_codes(step)
            return [number, *random, *codes, *self.loop("lane", "count", body)]
        if not self.target.fetches_ahead:
            return self.shared_loop("lane", count, body)
        ahead = self.fetches(step, first, "count")
        return [f"count = {count}", *ahead, *self.loop("lane", "count", body)]

    def fetches(self, step: Step, first: str, count: str) -> Lines:
        """Return statements that ask for the memory behind ``count`` elements from ``first`` on."""
        return [self.helper("fetch_ahead", self.arrays[name], first, count) for name in step.loads]

    def add(self, place: str, node: Expr) -> str:
        """Return the statement that adds one element's part of a sum, or keeps the largest."""
        if node.op == "largest":
            return self.target.assign(place, self.helper("larger", self.text(node.args[0]), place))
        return self.target.assign(place, f"{place} + {self.text(node.args[0], 3)}")

    def width(self, n: str, lanes: int) -> str:
        """Return the declaration of how many lanes a sum of ``n`` elements needs."""
        value = self.helper("lanes_for", self.use(n), str(lanes))
        return self.target.let("width", value, index=True)

    def zero_lanes(self, node: Expr, lanes: int) -> Lines:
        """Return statements that set a sum's lanes to zero."""
        name = self.lanes_name[id(node)]
        self.lanes[name] = lanes
        return self.target.zero_lanes(name, lanes)

    def folded(self, node: Expr, place: str) -> Lines:
        """Return statements that store the fold of a sum's lanes at a place in the workspace behind
        that of the sum."""
        folded = self.new_name(self.wanted(node))
        value = self.helper("fold", self.lanes_name[id(node)], "width")
        store = self.target.assign(self.in_workspace(node, place), folded)
        return [self.target.let(folded, value), f"{self.target.once}{store}"]
