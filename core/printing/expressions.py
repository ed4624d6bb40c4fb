"""A traced rule's values as text: names, infix expressions and statements."""

from __future__ import annotations

from collections.abc import Iterable

from ..language.names import is_printable
from ..language.passes import Program, Step
from ..language.tracer import COMPARISONS, REDUCTIONS, Expr
from .c_names import may_be_macro
from .layout import Layout
from .target import Lines, Target

PRECEDENCE = {"+": 2, "-": 2, "*": 3, "/": 3, **dict.fromkeys(COMPARISONS, 1)}
POSITION = {"row": "r", "column": "column", "tensor": "0"}  # within a state of that many numbers
OWN_NAMES = {
    "table", "rows", "tensors", "workspace", "first", "last", "chunk", "row", "tensor", "index",
    "n", "i", "r", "height", "size", "columns", "chunks", "column", "start", "lane", "first_row",
    "first_column", "tile", "tile_width", "tile_rows", "strip", "strips", "block", "whole", "end", "across", "add_lines", "sum_as_row",
    "larger", "largest_lane", "largest_lines", "largest_each",
    "grad_coefficient", "sign", "cube_root", "finite_or_zero", "maximum", "minimum", "fold", "fold_four", "fold_chunk", "lanes_for", "width", "total",
    "first_lane", "count", "fetch_ahead", "prefetch", "sqrt", "ipow", "pow", "exp",
    "step", "carry", "h", "s", "float32", "float64", "result", "total_of_chunk", "bits_of", "float_of", "added",
    "from_root", "to_root", "from_map", "to_map", "scale_of_block", "scale_of_values", "store_block",
    "store_mapped_block", "store_in_block", "pack", "unpack", "dynamic8_map", "udynamic8_map",
    "from_bfloat16", "to_bfloat16", "from_float16", "to_float16",
    "upper_half", "lower_half", "from_halves", "from_int16", "to_int16",
    "round_to_bfloat16", "round_to_float16", "philox", "random_of", "fill_random", "random_group", "random_sign", "half_of", "Random",
    "from_element", "to_element", "share_end", "from_lane", "to_lane", "tile_start",
    "random_seed", "random_step", "position", "first_element", "skipped", "part",
}  # fmt: skip


class Expressions:
    """The names and texts of one program's values in one target.

    ``stored`` are the dtypes of the arrays of the parameter's size, by name. ``called`` are the
    helper functions that its texts call, ``used`` the names of integers and arguments that the
    function in hand uses.
    """

    stored: dict[str, str]

    def __init__(self, program: Program, target: Target, rounds: bool = False) -> None:
        self.program, self.rule = program, program.rule
        self.layout = Layout(program, target.tile_columns, rounds)
        self.target, self.compute = target, target.compute
        self.scalars = (*program.scalars, "grad_coefficient")
        self.text_of: dict[int, str] = {}
        self.called: set[str] = set()
        self.used: set[str] = set()
        totals = [n for n in program.crossings if n.op == "sum" and n.per == "tensor"]
        self.default_name = {id(node): f"total{k}" for k, node in enumerate(totals)}
        self.default_name |= {id(node): f"{node.op}{k}" for k, node in enumerate(program.sums)}
        # arrays and places in the workspace have the same names in all functions
        helpers = (target.prefix + name for name in target.helpers)
        self.taken: set[str] = {*target.reserved, *OWN_NAMES, *target.helpers, *helpers}
        self.arrays = {
            name: self.new_name(f"{name}s") for name in (*program.arrays, *program.small)
        }
        self.slot_name = {
            id(node): self.new_name(f"{self.wanted(node)}_at") for node in self.layout.slots
        }
        self.lanes_name = {
            id(node): self.new_name(f"{self.wanted(node)}_lanes") for node in program.sums
        }
        self.line_name = {
            id(node): self.new_name(f"{self.wanted(node)}_line") for node in program.sums
        }
        self._taken_everywhere = frozenset(self.taken)

    # ---- names

    def begin(self) -> None:
        """Start a new function: its variables may have any names but these."""
        self.taken = set(self._taken_everywhere)
        self.text_of, self.used = {}, set()

    def use(self, text: str) -> str:
        """Return ``text`` and remember the names in it, which are apart by blanks, as used."""
        self.used.update(text.split())
        return text

    def helper(self, name: str, *arguments: str) -> str:
        """Return a call of a helper function and remember that it is needed."""
        self.called.add(name)
        return f"{self.target.prefix}{name}({', '.join(arguments)})"

    def wanted(self, node: Expr) -> str:
        """Return the name of a value in the rule's text, or another one if it has none there."""
        return node.name or self.default_name.get(id(node), "value")

    def new_name(self, wanted: str) -> str:
        """Return ``wanted``, or with a number behind it if it is taken; another name for one that
        not every language takes."""
        wanted = (
            (wanted.lower() if may_be_macro(wanted) else wanted)
            if is_printable(wanted)
            else "value"
        )
        name, number = wanted, 2
        while name in self.taken:
            name, number = f"{wanted}_{number}", number + 1
        self.taken.add(name)
        return name

    # ---- parts of statements

    def loop(self, variable: str, count: str, body: Lines, step: int = 1) -> Lines:
        """Return ``body`` for each ``variable`` from 0 on and below ``count``."""
        return self.target.loop(variable, self.use(count), body, "0", str(step))

    def integer(self, name: str, value: str, uses: str | None = None) -> Lines:
        """Return the declaration of an integer, or nothing if no line made so far uses it. ``uses``
        are the names in its ``value``, by default its words."""
        if self.target.warns_of_unused and name not in self.used:
            return []
        self.use(value if uses is None else uses)
        return [self.target.let(name, value, index=True)]

    def subscript(self, value: str) -> str:
        """Return an integer that is never negative as an index, and remember that there is one."""
        self.called.add("subscript")
        return self.target.subscript(value)

    # ---- expressions

    def text(self, node: Expr, within: int = 0) -> str:
        """Return ``node`` as an expression, in parentheses if it binds less tightly than
        ``within``."""
        if id(node) in self.text_of:
            return self.text_of[id(node)]
        if node.op == "constant":
            return self.target.constant(node.value)
        if node.op == "size":
            return self.target.as_value(self.use(self._count(*node.value)))
        if node.op == "random_signs":
            numbers = [self.target.as_integer(self.text(arg)) for arg in node.args]
            sign = self.helper("random_sign", *numbers, POSITION[node.per])
            return self.target.as_value(sign)
        if node.op in PRECEDENCE:
            level = PRECEDENCE[node.op]
            left, right = self.text(node.args[0], level), self.operand(node, 1, level + 1)
            text = f"{left} {node.op} {right}"
            return f"({text})" if level < within else text
        if node.op == "total":  # a sum that is complete
            return self.text(node.args[0], within)
        if node.op == "stored" and self.stored["param"] == self.compute:
            return self.text(node.args[0], within)
        if node.op == "neg":
            return f"(-{self.text(node.args[0], 4)})"
        if node.op == "where":
            condition, a = self.text(node.args[0], 1), self.text(node.args[1], 1)
            b = self.operand(node, 2, 1) if within else self.text(node.args[2], 1)
            text = self.target.where(condition, a, b)
            return f"({text})" if within else text
        if node.op in {"input", "scalar", *REDUCTIONS}:
            raise AssertionError(f"{node!r} is not known in this step")
        arguments = [self.operand(node, k) for k in range(len(node.args))]
        if node.op == "stored":  # as a store rounds and a load widens
            dtype = self.stored["param"]
            return self.helper(f"from_{dtype}", self.helper(f"to_{dtype}", *arguments))
        if node.op in self.target.helpers:
            return self.helper(node.op, *arguments)
        return f"{self.target.function(node.op)}({', '.join(arguments)})"

    def operand(self, node: Expr, k: int, within: int = 0) -> str:
        """Return the text of an operand. A language may take a whole number for an integer, which
        makes a difference between two of them, alone, and where it is a divisor and 0."""
        arg = node.args[k]
        if arg.op == "where" and len(node.args) == 1:
            return self.text(arg, 1)
        if arg.op == "constant":
            zero = node.op == "/" and arg.value == 0
            if zero or node.args[k - 1].op == "constant":  # also if it is the only one
                return self.target.typed_constant(arg.value)
        return self.text(arg, within)

    def _count(self, over: str, per: str) -> str:
        if not self.program.matrix or over == "row":
            return "size"
        return {"row": "columns", "column": "size", "tensor": "size * columns"}[per]

    def assignments(self, nodes: list[Expr], step: Step) -> Lines:
        """Return a statement for each node. A variable that the rule's text assigns again keeps its
        name if nothing later needs the value it had, and if that is computed anew for each
        element: what comes from outside the loop must stay what it is."""
        lines, inside = [], {id(n) for n in step.nodes if n.per in ("element", "host")}
        for k, node in enumerate(nodes):
            value, wanted = self.text(node), node.name or "value"
            holders = [key for key, t in self.text_of.items() if t == wanted and key in inside]
            later = [arg for n in nodes[k + 1 :] for arg in n.args] + list(step.roots)
            if holders and not _mentions(later, holders[0], nodes):
                del self.text_of[holders[0]]
                name = wanted
                lines.append(self.target.assign(name, value))
            else:
                name = self.new_name(wanted)
                lines.append(self.target.let(name, value))
            self.text_of[id(node)] = name
        return lines


def is_whole(value: float) -> bool:
    """Return true if an integer says the same: no large one, which may not fit, and not -0."""
    return abs(value) < 1e15 and value == round(value) and str(value) != "-0.0"


def _mentions(roots: list[Expr], target: int, written: Iterable[Expr]) -> bool:
    """Return true if the texts of ``roots`` contain the node whose id is ``target``; ``written``
    nodes, which are variables, are not looked into."""
    stops = {id(n) for n in written}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) == target:
            return True
        if id(node) not in stops:
            stack += node.args
    return False
