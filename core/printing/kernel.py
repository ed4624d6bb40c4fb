"""What all printed targets share: the loops around a rule's text, and what stands between them.

A target (Numba, C, CUDA) is a subclass with its syntax and its way of finding the data; what is
computed, and in which order, is written here once.
"""

from __future__ import annotations

from ..language.passes import Step, reachable, statements
from ..language.summation import LANES, ROW_LANES, STRIP_ROWS
from ..language.tracer import Expr
from .expressions import ExpressionPrinter, Lines

__all__ = ["KernelPrinter", "Lines"]


class KernelPrinter(ExpressionPrinter):
    """Prints the passes and folds of one program for one pair of storage dtypes.

    ``block`` is how many elements an inner loop takes in a rule that reduces; it divides ``LANES``.
    """

    block = LANES

    def lane_loop(self, step: Step, first: str, most: int, left: str, body: Lines) -> Lines:
        """The inner loop: ``body`` for every ``lane`` of the elements from ``first`` on, of which
        there are ``left``, but ``most`` at a time."""
        return self.loop("lane", self.smaller(str(most), left), body, spread=True)

    # ---- passes

    def scalar_lines(self, step: Step) -> Lines:
        """Make the step's scalars known."""
        lines: Lines = []
        for node in step.nodes:
            if node.op == "scalar":
                self.text_of[id(node)], needed = self.scalar(str(node.name))
                lines += needed
        return lines

    def pass_body(self, step: Step) -> Lines:
        """The loops of one pass over one chunk; the arrays, ``n`` (in a matrix program ``height``
        and ``columns``) and the chunk's ``index`` are known."""
        before = self.scalar_lines(step)
        per_row: Lines = []
        element: Lines = []
        for node in step.received:
            name = self.new_name(node.name or "value")
            self.text_of[id(node)] = name
            if node.per == "tensor":
                before.append(self.let(name, self.in_workspace(node)))
            elif node.per == "row":
                per_row.append(self.let(name, self.in_workspace(node, "first_row + r")))
            else:
                element.append(self.let(name, self.in_workspace(node, "column")))
        if "grad" in step.loads:
            text, needed = self.scalar("grad_coefficient")
            before += needed
        held = dict(step.reloaded)
        for node in step.nodes:
            array = held.get(id(node), str(node.name) if node.op == "input" else None)
            if array is not None and node.per == "element":
                self.text_of[id(node)] = name = self.new_name(array)
                value = self.load(array)
                element.append(self.let(name, f"{text} * {value}" if array == "grad" else value))
        element += self.assignments(statements(step), step)
        element += [self.store(array, self.text(expr)) for array, expr in step.stores]
        return before + (
            self._matrix_loops(step, per_row, element)
            if self.program.matrix
            else self._flat_loops(step, element)
        )

    def load(self, array: str) -> str:
        dtype, place = self.stored[array], self.element(array)
        return place if dtype == self.compute else f"from_{dtype}({place})"

    def store(self, array: str, value: str) -> str:
        dtype = self.stored[array]
        value = value if dtype == self.compute else f"to_{dtype}({value})"
        return self.assign(self.element(array), value)

    def element(self, array: str) -> str:
        """The element of an array that the loop is at."""
        return f"{self.arrays[array]}[i]"

    def _flat_loops(self, step: Step, element: Lines) -> Lines:
        if not self.program.sums or not (step.sums or self.block < LANES):
            return self.loop("i", "n", element, spread=True)
        lines = [self._width("n", LANES)] if step.sums else []
        body = [self.let("i", self.subscript("start + lane"), index=True), *element]
        before, lane = [], "lane"
        if step.sums and self.block < LANES:
            before = [self.let("first_lane", f"start % {LANES}", index=True)]
            lane = self.subscript("first_lane + lane")
        for node in step.sums:
            lanes = f"{self._lanes(node)}[{lane}]"
            lines += self.zero_lanes(self._lanes(node), LANES)
            body.append(self.assign(lanes, f"{lanes} + {self.text(node.args[0], 3)}"))
        inner = before + self.lane_loop(step, "start", self.block, "n - start", body)
        lines += self.loop("start", "n", inner, step=self.block)
        for node in step.sums:
            lines += self._folded(node, "index")
        return lines

    def _matrix_loops(self, step: Step, per_row: Lines, element: Lines) -> Lines:
        lines = [self.let("first_row", f"index * {STRIP_ROWS}", index=True)]
        if any(node.per != "column" for node in step.sums):
            lines.append(self._width("columns", ROW_LANES))
        body = [
            self.let("column", "start + lane", index=True),
            self.let("i", self.subscript("r * columns + column"), index=True),
            *element,
        ]
        after: Lines = []
        for node in step.sums:
            value = self.text(node.args[0], 3)
            if node.per == "column":
                place = self.in_workspace(node, "index * columns + column")
                zero = self.assign(place, self.constant(0))
                lines += self.loop("column", "columns", [zero], spread=True)
                body.append(self.assign(place, f"{place} + {value}"))
            else:
                lanes = self._lanes(node)
                per_row += self.zero_lanes(lanes, ROW_LANES)
                body.append(self.assign(f"{lanes}[lane]", f"{lanes}[lane] + {value}"))
                after += self._folded(node, "first_row + r")
        first = "r * columns + start"
        inner = self.lane_loop(step, first, ROW_LANES, "columns - start", body)
        row_loop = per_row + self.loop("start", "columns", inner, step=ROW_LANES) + after
        return lines + self.rows(step, row_loop)

    def rows(self, step: Step, body: Lines) -> Lines:
        """``body`` for each row of a strip."""
        return self.loop("r", "height", body)

    def _width(self, n: str, lanes: int) -> str:
        return self.let("width", f"lanes_for({n}, {lanes})", index=True)

    def _folded(self, node: Expr, place: str) -> Lines:
        """Store the fold of a sum's lanes."""
        folded = self.new_name(self.wanted(node))
        place = self.in_workspace(node, place)
        let = self.let(folded, f"fold({self._lanes(node)}, width)")
        return [let, self.once(self.assign(place, folded))]

    def _lanes(self, node: Expr) -> str:
        return self.lanes_name[id(node)]

    # ---- folds

    def fold_body(self, step: Step) -> Lines:
        """What stands between two passes, for one tensor; ``size``, ``columns``, ``chunks`` and
        the small arrays are known."""
        lines = self.scalar_lines(step)
        for node in step.finished:
            if node.per == "column":
                at = self.slot_name[id(node)]
                lines.append(self.fold_strips(at))
        crossing = {id(n) for n in step.crossings}
        written = {id(n) for n in statements(step)} | crossing
        for node in step.nodes:
            if node.op == "input":
                position = {"row": "r", "column": "column", "tensor": "0"}[node.per]
                self.text_of[id(node)] = f"{self.arrays[str(node.name)]}[{position}]"
                if id(node) in crossing:
                    lines += self._fold_statement(node)
            elif node.op == "sum" and node.per != "tensor":
                self.text_of[id(node)] = self._place(node)
            elif node.op == "sum" or id(node) in written:
                lines += self._fold_statement(node)
        for per in ("row", "column", "tensor"):  # a row's new value may need a tensor's old one
            lines += self._small_stores(per, [s for s in step.stores if self.rule.per[s[0]] == per])
        return lines

    def _small_stores(self, per: str, stores: list[tuple[str, Expr]]) -> Lines:
        """New values of state that there is one of per ``per``. If one of them needs another
        one's old value, all are computed before any is stored."""
        position = {"row": "r", "column": "column", "tensor": "0"}[per]
        names = {name for name, _ in stores}
        read = [(n.name, name) for name, e in stores for n in reachable([e]) if n.op == "input"]
        values = [self.text(expr) for _, expr in stores]
        before: Lines = []
        if any(other in names and other != name for other, name in read):
            new = [self.new_name(name) for name, _ in stores]
            before = [self.let(name, value) for name, value in zip(new, values, strict=True)]
            values = new
        assigned = [
            self.assign(f"{self.arrays[name]}[{position}]", value)
            for (name, _), value in zip(stores, values, strict=True)
        ]
        if before and per != "tensor":
            return self.over(per, *before, *assigned)
        return before + [line for store in assigned for line in self.over(per, store)]

    def _place(self, node: Expr) -> str:
        return self.in_workspace(node, {"row": "r", "column": "column", "tensor": ""}[node.per])

    def over(self, per: str, *lines: str) -> Lines:
        """``lines`` for every row or column of the tensor, or once."""
        if per == "row":
            return self.loop("r", "size", [*lines], spread=True)
        if per == "column":
            return self.loop("column", "columns", [*lines], spread=True)
        return [self.once(line) for line in lines]

    def _fold_statement(self, node: Expr) -> Lines:
        """One value of a fold: a variable if it exists per tensor, else a vector in the workspace."""
        if node.per != "tensor" and node.per != "scalar":
            line = self.assign(self._place(node), self.text(node))
            self.text_of[id(node)] = self._place(node)
            return self.over(node.per, line)
        name = self.new_name(self.wanted(node))
        lines = [self.let(name, self._total(node) if node.op == "sum" else self.text(node))]
        self.text_of[id(node)] = name
        if id(node) in self.slot_name and node.op != "sum":
            lines.append(self.once(self.assign(self._place(node), name)))
        return lines

    def _total(self, node: Expr) -> str:
        (arg,) = node.args
        if arg.per == "element":
            count = "size" if self.program.matrix else "chunks"
            return self.vector(self.slot_name[id(node)], count)
        return self.vector(self.slot_name[id(arg)], "size")
