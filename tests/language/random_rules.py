"""Random straight-line rules with names that have broken printed source, or might: those of
scalars, arguments and temporaries, of what printers write themselves, keywords and builtins."""

from __future__ import annotations

import builtins
import keyword
import random
from collections.abc import Callable

import samestep as ss
from samestep.language.names import TAKEN, is_printable
from samestep.language.rule import CLIPS
from samestep.printing.c_names import KEYWORDS
from samestep.printing.expressions import OWN_NAMES

ORDINARY = ["lr", "decay", "norm", "average", "value", "mean", "scale", "update", "total", "k"]
PRINTED = ["norm_at", "norm_lanes", "value_at", "sum0", "sum0_at", "sum0_lanes", "sum1", "r_at",
           "params", "grads", "lr_2", "decay_2", "value_2", "averages", "at", "group", "before",
           "coefficients", "control", "norm_group", "NAN", "INFINITY", "M", "größe", "uint64",
           "carray", "np", "pointer", "options", "int64_t", "fabsf"]  # fmt: skip
HOSTILE = sorted(
    name
    for name in {*ORDINARY, *PRINTED, *OWN_NAMES, *KEYWORDS, *filter(str.isidentifier, dir(builtins))}
    if not keyword.iskeyword(name) and name not in ("xp", "s", "__debug__", "grad_coefficient")
)  # fmt: skip
INDICES = ["r", "first_row", "columns", "width", "rows", "table", "workspace", "lane", "i"]
CONSTANTS = ["0.5", "2", "1e-3", "0", "1", "3", "-1.5", "0.1", "-0.0", "7", "1e16"]


class Text:
    """Writes one rule. Each variable is known with what there is one of it per."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.name = f"rule{seed}"
        pick = self.random.choice
        names = sorted({*self.random.sample(HOSTILE, 6), *self.random.sample(ORDINARY, 4)})
        # a few names for everything, so that they collide
        self.names = [*self.random.sample(names, 5), "param", "grad"]
        plain = [name for name in names if is_printable(name)]
        self.hyper = [n for n in self.random.sample(plain, 2) if n not in {*TAKEN, *CLIPS}]
        self.hyper = self.hyper or ["lr"]
        self.scalars = self.random.sample(plain, self.random.randint(1, 3))
        state = self.random.sample(plain, self.random.choice([0, 1, 1, 2, 3]))
        self.state = [n for n in state if n not in ("param", "grad", "step")]
        self.matrix = self.random.random() < 0.5
        kinds = ["element", "element", "tensor"] + ["row", "column"] * self.matrix
        self.per = {name: pick(kinds) for name in self.state}
        self.sums = self.random.choice([0, 0, 1, 2, 3])

    def rule(self) -> ss.Rule:
        """The rule; its text is in ``text``."""
        self.text = f"{self._scalars()}\n\n{self._update()}"
        space: dict[str, Callable] = {}
        exec(compile(self.text, f"<{self.name}>", "exec"), space)
        return ss.Rule(
            self.name,
            space["scalars"],
            space["update"],
            defaults=dict.fromkeys(self.hyper, 0.3),
            per={name: per for name, per in self.per.items() if per != "element"},
            initial={n: self.random.choice([0.0, 0.25, self.hyper[0]]) for n in self.state},
        )

    def _scalars(self) -> str:
        known = ["step", *(f"h.{name}" for name in self.hyper)]
        lines = []
        for _ in range(self.random.randint(0, 3)):
            a, b = self.random.choice(known), self.random.choice([*known, *CONSTANTS[:5]])
            name = self.random.choice([*self.names, "step"])
            if name not in ("xp", "h", "carry"):
                lines.append(f"{name} = {self._host(a, b)}")
                known.append(name)
        row = {
            name: self._host(self.random.choice(known), self.random.choice(known))
            for name in self.scalars
        }
        pairs = ", ".join(f"{name!r}: {value}" for name, value in row.items())
        return _function("scalars(xp, step, carry, h)", [*lines, f"return {{{pairs}}}, carry"])

    def _host(self, a: str, b: str) -> str:
        forms = ["{a} * {b}", "{a} + {b}", "1 - {a} / ({b} * {b} + 1)", "xp.sqrt({a} * {a})",
                 "xp.where({a} > {b}, 1, 2) / 3", "xp.where({a} > 1, {b}, {a})"]  # fmt: skip
        return self.random.choice(forms).format(a=a, b=b)

    def _update(self) -> str:
        self.known = {"param": "element", "grad": "element", **self.per}
        lines = []
        for _ in range(self.random.randint(1, 6)):
            value, per = self.value(self.random.randint(1, 3))
            name = self.random.choice([*self.names, *self.scalars, *self.state])
            if self.sums and self.matrix and "element" in self.known.values():
                name = self.random.choice(INDICES)
                per = self.random.choice(["row", "row", "column"])
                elements = [name for name, each in self.known.items() if each == "element"]
                value = f"xp.sum({self.random.choice(elements)}, per={per!r})"
                self.sums -= 1
            lines.append(f"{name} = {value}")
            self.known[name] = per
        results = [self.value(2)[0], *(self._result(self.per[name]) for name in self.state)]
        arguments = ", ".join(["xp", "s", "param", "grad", *self.state])
        return _function(f"update({arguments})", [*lines, f"return {', '.join(results)}"])

    def _result(self, per: str) -> str:
        """What a state becomes."""
        if per == "element":
            return self.value(2)[0]
        same = [name for name, kind in self.known.items() if kind == per]
        if same and self.random.random() < 0.6:
            return f"{self._scalar()} * {self.random.choice(same)} + {self._scalar()}"
        return self._sum(per)[0]

    def value(self, depth: int) -> tuple[str, str]:
        """An expression, and what there is one of it per."""
        if depth == 0 or self.random.random() < 0.15:
            name = self.random.choice([*self.known, "s"])
            return (self._scalar(), "scalar") if name == "s" else (name, self.known[name])
        if self.sums and self.random.random() < 0.25:
            per = self.random.choice(["tensor"] + ["row", "column"] * self.matrix)
            return self._sum(per)
        (a, p), (b, q), (c, r) = (self.value(depth - 1) for _ in range(3))
        if self.random.random() < 0.3:
            b, q = self.random.choice(CONSTANTS), "scalar"
        two = ["({a} + {b})", "({a} - {b})", "{a} * {b}", "{a} / ({b} * {b} + 0.5)", "{a} / {b}",
               "xp.maximum({a}, {b})", "xp.minimum({b}, {a})", "({a} - ({b} - {a}))"]  # fmt: skip
        one = ["(-{a})", "xp.abs({a})", "xp.sqrt(xp.abs({a}))", "xp.sign({a})"]
        one += ["abs({a})"] * ("abs" not in {*self.names, *self.scalars, *self.state})
        three = ["xp.where({a} > {b}, {c}, {b})", "xp.where({a} <= {b}, 1, 2) / 3 * {c}",
                 "-xp.where({c} > {a}, 0, {b})"]  # fmt: skip
        forms, pers = self.random.choice(
            [(two, (p, q)), (two, (p, q)), (one, (p,)), (three, (p, q, r))]
        )
        return self.random.choice(forms).format(a=a, b=b, c=c), _join(pers)

    def _sum(self, per: str) -> tuple[str, str]:
        self.sums -= 1
        of, kind = self.value(1) if self.random.random() < 0.7 else ("grad", self.known["grad"])
        if kind != "element" and (kind, per) != ("row", "tensor"):
            elements = [name for name, each in self.known.items() if each == "element"]
            of = f"({of} + {self.random.choice(elements)})" if elements else ""
        if not of:
            return self._scalar(), "scalar"
        form = self.random.choice(["xp.sum({of}, per={per!r})", "xp.mean({of}, per={per!r})",
                                   "xp.norm({of}, per={per!r})",
                                   "xp.sum({of}, {per!r}) / xp.sqrt(xp.size({of}, {per!r}))"])  # fmt: skip
        if per != "tensor" and self.random.random() < 0.2:
            form = "xp.max_abs({of}, per={per!r})"
        return form.format(of=of, per=per), per

    def _scalar(self) -> str:
        return f"s.{self.random.choice(self.scalars)}"


def _join(pers: tuple[str, ...]) -> str:
    kinds = {*pers} - {"scalar"}
    if "element" in kinds or {"row", "column"} <= kinds:
        return "element"
    return next((per for per in ("row", "column", "tensor") if per in kinds), "scalar")


def _function(head: str, lines: list[str]) -> str:
    return "\n    ".join([f"def {head}:", *lines])
