"""A rule's arithmetic as equations in MathML, which browsers typeset without any script.

They are made from the trace that kernels are printed from: a local variable of the rule's text is
a line. Scalars of at most one operation stand where they are used. Names are those of
hyperparameters and state; Greek ones are set as letters, and t is the number of the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from samestep.language.passes import reachable
from samestep.language.rule import Rule
from samestep.language.tracer import COMPARISONS, LEAVES, Expr, trace_scalars, trace_update

GREEK = {
    "alpha": "α", "beta": "β", "betas": "β", "eps": "ε", "eta": "η", "etas": "η", "lambd": "λ",
    "mu": "μ", "rho": "ρ", "step": "t",
}  # fmt: skip
SUM, PRODUCT, ATOM = 1, 2, 3  # how tightly the outermost operation of a text binds
RELATIONS = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}
SPACE = "<mspace width='0.4em'/>"


def _definition(function: str, text: str) -> str:
    """Return a line that says what a function is whose name stands in the lines above."""
    return f"<mtd><mi>{function}</mi></mtd><mtd><mo>:</mo>{SPACE}{text}</mtd>"


def _product(gram: str) -> str:
    return (
        "<mi>keep</mi><mo>⋅</mo><mi>before</mi><mo>+</mo><mi>add</mi><mo>⋅</mo>"
        f"{gram}<mo>,</mo>{SPACE}<mtext>of (X, before, keep, add)</mtext>"
    )


TRANSPOSED = "<msup><mi>X</mi><mi>T</mi></msup>"
DEFINITIONS = {
    "newton_schulz": (
        "<mi>X</mi><mo>←</mo><mi>a</mi><mi>X</mi><mo>+</mo><mo>(</mo><mi>b</mi><mi>G</mi><mo>+</mo>"
        "<mi>c</mi><msup><mi>G</mi><mn>2</mn></msup><mo>)</mo><mi>X</mi><mo>,</mo>"
        f"{SPACE}<mi>G</mi><mo>=</mo><mi>X</mi>{TRANSPOSED}"
        f"<mo>,</mo>{SPACE}<mtext>ns_steps times</mtext>"
    ),
    "row_gram": _product(f"<mi>X</mi>{TRANSPOSED}"),
    "column_gram": _product(f"{TRANSPOSED}<mi>X</mi>"),
    "inverse_root": (
        "<msup><mrow><mo>(</mo><mi>scale</mi><mo>⋅</mo><mi>G</mi><mo>+</mo><mi>ε</mi><mi>I</mi>"
        "<mo>)</mo></mrow><mrow><mo>−</mo><mi>exponent</mi></mrow></msup><mo>,</mo>"
        f"{SPACE}<mtext>of (G, before, refresh, scale, ε, exponent); before where refresh is 0</mtext>"
    ),
    "eigenbasis": (
        f"<mtext>eigenvectors of G</mtext><mo>,</mo>{SPACE}<mtext>of (G, before, refresh, first); "
        "one step of power iteration from before where first is 0; before where refresh is 0</mtext>"
    ),
    "multiplied": (f"<mi>L</mi><mi>X</mi><mi>R</mi><mo>,</mo>{SPACE}<mtext>of (X, L, R)</mtext>"),
    "rotated": (
        "<msup><mi>L</mi><mi>T</mi></msup><mi>X</mi><mi>R</mi><mo>,</mo>"
        f"{SPACE}<mtext>of (X, L, R)</mtext>"
    ),
    "rotated_back": (
        "<mi>L</mi><mi>X</mi><msup><mi>R</mi><mi>T</mi></msup><mo>,</mo>"
        f"{SPACE}<mtext>of (X, L, R)</mtext>"
    ),
    "random_start": (
        "<mtext>random numbers, of (before, first, seed); before where first is 0</mtext>"
    ),
    "orthonormal_product": (
        f"<mtext>the Q of QR of</mtext>{SPACE}<mi>X</mi><mi>R</mi><mo>,</mo>{SPACE}<mtext>of (X, R)</mtext>"
    ),
    "transposed_product": f"{TRANSPOSED}<mi>L</mi><mo>,</mo>{SPACE}<mtext>of (X, L)</mtext>",
    "unit_columns": (
        "<mtext>the columns of X, each divided by its norm + ε, of (X, before, ε); where one is 0, that of "
        "before</mtext>"
    ),
    "outer_product": (
        f"<mi>L</mi><msup><mi>R</mi><mi>T</mi></msup><mo>,</mo>{SPACE}<mtext>of (L, R)</mtext>"
    ),
}

Text = tuple[str, int]


def equations(rule: Rule) -> str:
    """Return all lines of a rule as one block of MathML: what is equal for all elements, then what
    happens to each element."""
    row, carry = trace_scalars(rule)
    results, _ = trace_update(rule)
    inline = {name: value for name, value in row.items() if _is_short(value)}
    long = {name: value for name, value in row.items() if name not in inline}
    host = _Lines({})
    host.add(long, carry)
    element = _Lines({name: host.text(value) for name, value in inline.items()})
    element.add(results)
    called = {node.op for node in reachable(results.values())}
    element.lines += [_definition(n, text) for n, text in DEFINITIONS.items() if n in called]
    rows = "".join(f"<mtr>{line}</mtr>" for line in [*host.lines, *element.lines])
    return f'<math display="block"><mtable displaystyle="true">{rows}</mtable></math>'


def _is_short(value: Expr) -> bool:
    """Say whether an expression is a leaf, or one operation on leaves, that has no name."""
    return value.op in LEAVES or (not value.name and all(arg.op in LEAVES for arg in value.args))


class _Lines:
    """Collects lines. ``scalars`` are the texts of those that are written out where they occur."""

    def __init__(self, scalars: Mapping[str, Text]) -> None:
        self.scalars = scalars
        self.lines: list[str] = []
        self._holder: dict[str, int] = {}  # the value that a name stands for by now

    def add(self, *groups: Mapping[str, Expr]) -> None:
        """Add a line for each named value that the results need, then one for each other result."""
        roots = [value for results in groups for value in results.values()]
        nodes = sorted(reachable(roots), key=lambda node: node.serial)
        for node in nodes:
            if node.name and node.op not in LEAVES:
                self._line(node.name, node, self._operation(node))
        for results in groups:
            for name, value in results.items():
                if value.name != name:
                    self._line(name, value, self.text(value))

    def _line(self, name: str, node: Expr, text: Text) -> None:
        self._holder[name] = id(node)
        self.lines.append(
            f"<mtd>{symbol(name)}</mtd><mtd><mo>←</mo><mspace width='0.4em'/>{text[0]}</mtd>"
        )

    def text(self, node: Expr) -> Text:
        """Return a value's name, or its operation if it has none."""
        if node.op == "scalar" and node.name in self.scalars:
            return self.scalars[node.name]
        if node.name:
            shown = symbol(node.name)
            if self._holder.get(node.name, id(node)) != id(node):
                shown = f"<msup>{shown}<mtext>(before)</mtext></msup>"
            return shown, ATOM
        return self._operation(node)

    def _operation(self, node: Expr) -> Text:
        op, args = node.op, [self.text(arg) for arg in node.args]
        if op == "constant":
            return f"<mn>{node.value:g}</mn>", ATOM
        if op == "size":
            return f"<msub><mi>n</mi><mtext>{node.value[1]}</mtext></msub>", ATOM
        if op in ("+", "-"):
            right = _within(args[1], PRODUCT if op == "-" else SUM)
            return f"{args[0][0]}<mo>{'−' if op == '-' else op}</mo>{right}", SUM
        if op == "*":
            if node.args[0] is node.args[1]:
                return f"<msup>{_within(args[0], ATOM)}<mn>2</mn></msup>", PRODUCT
            return f"{_within(args[0], PRODUCT)}<mo>⋅</mo>{_within(args[1], PRODUCT)}", PRODUCT
        if op == "/" and node.args[1].op == "size" and _summed(node.args[0]) is not None:
            summed, per = _summed(node.args[0]), node.args[1].value[1]
            return _call(f"<msub><mi>mean</mi><mtext>{per}</mtext></msub>", self.text(summed)[0])
        if op == "/":
            return f"<mfrac>{_row(args[0][0])}{_row(args[1][0])}</mfrac>", ATOM
        if op == "neg":
            return f"<mo>−</mo>{_within(args[0], PRODUCT)}", SUM
        if op == "sqrt":
            return f"<msqrt>{args[0][0]}</msqrt>", ATOM
        if op == "cube_root":
            return f"<mroot>{_row(args[0][0])}<mn>3</mn></mroot>", ATOM
        if op in ("ipow", "pow"):
            return f"<msup>{_within(args[0], ATOM)}{_row(args[1][0])}</msup>", PRODUCT
        if op == "exp":
            return f"<msup><mi>e</mi>{_row(args[0][0])}</msup>", PRODUCT
        if op == "abs":
            return f"<mrow><mo>|</mo>{args[0][0]}<mo>|</mo></mrow>", ATOM
        if op == "where":
            return _cases(*(arg[0] for arg in args)), ATOM
        if op in COMPARISONS:
            return f"{args[0][0]}<mo>{escape(RELATIONS.get(op, op))}</mo>{args[1][0]}", SUM
        if op == "total":
            return args[0]
        if op == "sum":
            return _call(f"<msub><mo>∑</mo><mtext>{node.per}</mtext></msub>", args[0][0])
        if op == "random_signs":
            return _call(
                f"<msub><mi>random sign</mi><mtext>{node.per}</mtext></msub>",
                "<mo>,</mo>".join(a[0] for a in args),
            )
        if op == "largest":
            return _call(f"<msub><mi>max</mi><mtext>{node.per}</mtext></msub>", args[0][0])
        name = {"maximum": "max", "minimum": "min"}.get(op, op)
        return _call(f"<mi>{name}</mi>", "<mo>,</mo>".join(arg[0] for arg in args))


def symbol(name: str) -> str:
    """Return a name as MathML: ``h.betas[0]`` and ``beta1`` as the letter with its number."""
    name = name.removeprefix("h.").removeprefix("carry.")
    stem, index = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
    if name.endswith("]"):
        stem, _, position = name[:-1].partition("[")
        index = str(int(position) + 1)
    letter = f"<mi>{escape(GREEK.get(stem, stem))}</mi>"
    return f"<msub>{letter}<mn>{index}</mn></msub>" if index and stem else letter


def _summed(node: Expr) -> Expr | None:
    node = node.args[0] if node.op == "total" else node
    return node.args[0] if node.op == "sum" else None


def _row(text: str) -> str:
    return f"<mrow>{text}</mrow>"


def _within(text: Text, least: int) -> str:
    """Return a text, in parentheses if it binds less tightly than ``least``."""
    return text[0] if text[1] >= least else _in_parentheses(text[0])


def _call(function: str, arguments: str) -> Text:
    return f"<mrow>{function}{_in_parentheses(arguments)}</mrow>", ATOM


def _in_parentheses(text: str) -> str:
    """Return a text in parentheses, which are tall only around a fraction."""
    tall = "true" if "<mfrac>" in text else "false"
    return f'<mrow><mo stretchy="{tall}">(</mo>{text}<mo stretchy="{tall}">)</mo></mrow>'


def _cases(condition: str, yes: str, no: str) -> str:
    when_true = f"<mtext>if</mtext><mspace width='0.4em'/>{condition}"
    lines = ((yes, when_true), (no, "<mtext>else</mtext>"))
    cells = "".join(f"<mtr><mtd>{value}</mtd><mtd>{when}</mtd></mtr>" for value, when in lines)
    return f"<mrow><mo>{{</mo><mtable>{cells}</mtable></mrow>"
