"""A traced rule's values as text: names, infix expressions and statements.

A target (Numba, C, CUDA) is a subclass of `samestep.printing.kernel.KernelPrinter` that defines
its syntax.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..language.dtypes import COMPUTE_DTYPE
from ..language.passes import Program, Step
from ..language.tracer import COMPARISONS, Expr
from .layout import Layout

PRECEDENCE = {"+": 2, "-": 2, "*": 3, "/": 3, **dict.fromkeys(COMPARISONS, 1)}
OWN_NAMES = {
    "table", "rows", "tensors", "workspace", "first", "last", "chunk", "row", "tensor", "index",
    "n", "i", "r", "height", "size", "columns", "chunks", "column", "start", "lane", "first_row",
    "grad_coefficient", "sign", "maximum", "minimum", "fold", "lanes_for", "width", "total",
    "fold_strips", "first_lane", "count", "fetch_ahead", "prefetch", "sqrt", "ipow", "pow", "exp",
    "step", "carry", "h", "s", "float32", "float64", "result", "total_of_chunk", "bits_of", "float_of",
    "from_bfloat16", "to_bfloat16", "from_float16", "to_float16",
}  # fmt: skip
Lines = list[str]


class ExpressionPrinter:
    """What the values of one program are called, for one pair of storage dtypes, and their text."""

    reserved: frozenset[str] = frozenset()

    def __init__(self, program: Program, param_dtype: str, grad_dtype: str) -> None:
        self.program, self.rule, self.layout = program, program.rule, Layout(program)
        self.compute = COMPUTE_DTYPE[param_dtype]
        self.stored = dict.fromkeys(program.arrays, self.compute)
        self.stored |= {"param": param_dtype, "grad": grad_dtype}
        self.scalars = (*program.scalars, "grad_coefficient")
        self.text_of: dict[int, str] = {}
        self.default_name = {id(node): f"sum{k}" for k, node in enumerate(program.sums)}
        # arrays and places in the workspace have the same names in all functions
        self.taken: set[str] = {*self.reserved, *OWN_NAMES}
        self.arrays = {
            name: self.new_name(f"{name}s") for name in (*program.arrays, *program.small)
        }
        self.slot_name = {
            id(node): self.new_name(f"{self.wanted(node)}_at") for node in self.layout.slots
        }
        self.lanes_name = {
            id(node): self.new_name(f"{self.wanted(node)}_lanes") for node in program.sums
        }
        self._taken_everywhere = frozenset(self.taken)

    # ---- syntax, defined by the target

    def loop(
        self, variable: str, count: str, body: Lines, *, step: int = 1, spread: bool = False
    ) -> Lines:
        """``body`` for each ``variable`` below ``count``. Where ``spread``, a target with threads
        in a block shares the loop among them."""
        raise NotImplementedError

    def let(self, name: str, value: str, *, index: bool = False) -> str:
        """Declare a variable of the compute dtype, or an integer."""
        raise NotImplementedError

    def assign(self, place: str, value: str) -> str:
        raise NotImplementedError

    def constant(self, value: float) -> str:
        raise NotImplementedError

    def typed_constant(self, value: float) -> str:
        """A constant of the compute dtype, where nothing beside it says that it is one."""
        return self.constant(value)

    def where(self, condition: str, a: str, b: str) -> str:
        raise NotImplementedError

    def smaller(self, a: str, b: str) -> str:
        """The smaller of two integers."""
        raise NotImplementedError

    def call(self, op: str, args: Lines) -> str:
        return f"{op}({', '.join(args)})"

    def as_value(self, count: str) -> str:
        """An integer as a value of the compute dtype."""
        return self.call(self.compute, [count])

    def scalar(self, name: str) -> tuple[str, Lines]:
        """The text of a scalar, and the lines that must stand before it."""
        raise NotImplementedError

    def vector(self, start: str, count: str) -> str:
        """Part of the workspace as an argument of ``total``."""
        raise NotImplementedError

    def zero_lanes(self, name: str, lanes: int) -> Lines:
        """Declare that many lanes; set ``width`` of them to zero."""
        raise NotImplementedError

    def subscript(self, value: str) -> str:
        """An integer that is never negative, as an index."""
        return value

    def in_workspace(self, node: Expr, position: str = "") -> str:
        """One of the numbers that the workspace holds of ``node``."""
        slot = self.slot_name[id(node)]
        return f"workspace[{self.subscript(f'{slot} + {position}') if position else slot}]"

    def once(self, line: str) -> str:
        """``line`` executed by one thread only, where there are several."""
        return line

    def fold_strips(self, slot: str) -> str:
        """A statement that adds up the strips of a column sum, into the first."""
        raise NotImplementedError

    # ---- names and expressions

    def begin(self) -> None:
        """Start a new function: its variables may have any names but these."""
        self.taken = set(self._taken_everywhere)
        self.text_of = {}

    def wanted(self, node: Expr) -> str:
        """What the rule's text calls a value, if it does."""
        return node.name or self.default_name.get(id(node), "value")

    @property
    def entry(self) -> str:
        """What functions are called that are named after the rule alone."""
        label = self.rule.label
        return f"{label}_update" if label in {*self.reserved, *OWN_NAMES} else label

    def new_name(self, wanted: str) -> str:
        """``wanted``, or with a number behind it if it is taken. Capitals alone may be a macro's
        name, and not every language takes other letters than those of ASCII."""
        wanted = (wanted.lower() if wanted.isupper() else wanted) if wanted.isascii() else "value"
        name, number = wanted, 2
        while name in self.taken:
            name, number = f"{wanted}_{number}", number + 1
        self.taken.add(name)
        return name

    def text(self, node: Expr, within: int = 0) -> str:
        """``node`` as an expression, in parentheses if it binds less tightly than ``within``."""
        if id(node) in self.text_of:
            return self.text_of[id(node)]
        if node.op == "constant":
            return self.constant(node.value)
        if node.op == "size":
            return self.as_value(self._count(*node.value))
        if node.op in PRECEDENCE:
            level = PRECEDENCE[node.op]
            left, right = self.text(node.args[0], level), self.operand(node, 1, level + 1)
            text = f"{left} {node.op} {right}"
            return f"({text})" if level < within else text
        if node.op == "total":  # a sum that is complete
            return self.text(node.args[0], within)
        if node.op == "neg":
            return f"(-{self.text(node.args[0], 4)})"
        if node.op == "where":
            condition, a = self.text(node.args[0], 1), self.text(node.args[1], 1)
            b = self.operand(node, 2, 1) if within else self.text(node.args[2], 1)
            text = self.where(condition, a, b)
            return f"({text})" if within else text
        if node.op in ("input", "scalar", "sum"):
            raise AssertionError(f"{node!r} is not known in this step")
        return self.call(node.op, [self.operand(node, k) for k in range(len(node.args))])

    def operand(self, node: Expr, k: int, within: int = 0) -> str:
        """The text of an operand. A language may take a whole number for an integer, which makes a
        difference between two of them, alone, and where it is a divisor and 0."""
        arg = node.args[k]
        if arg.op == "where" and len(node.args) == 1:
            return self.text(arg, 1)
        if arg.op == "constant":
            zero = node.op == "/" and arg.value == 0
            if zero or node.args[k - 1].op == "constant":  # also if it is the only one
                return self.typed_constant(arg.value)
        return self.text(arg, within)

    def _count(self, over: str, per: str) -> str:
        if not self.program.matrix:
            return "size"
        if over == "row":
            return "size"
        return {"row": "columns", "column": "size", "tensor": "size * columns"}[per]

    def assignments(self, nodes: list[Expr], step: Step) -> Lines:
        """A statement for each node. A variable that the rule's text assigns again keeps its
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
                lines.append(self.assign(name, value))
            else:
                name = self.new_name(wanted)
                lines.append(self.let(name, value))
            self.text_of[id(node)] = name
        return lines


def is_whole(value: float) -> bool:
    """Whether an integer says the same: no large one, which may not fit, and not -0."""
    return abs(value) < 1e15 and value == round(value) and str(value) != "-0.0"


def _mentions(roots: list[Expr], target: int, written: Iterable[Expr]) -> bool:
    """Whether the texts of ``roots`` contain the node whose id is ``target``; not looking into
    ``written`` nodes, which are variables."""
    stops = {id(n) for n in written}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) == target:
            return True
        if id(node) not in stops:
            stack += node.args
    return False
