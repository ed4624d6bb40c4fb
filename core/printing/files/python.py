"""The parts that exported Python files share: docstring, the rule's text, scalars, state."""

from __future__ import annotations

import builtins
import textwrap
from collections.abc import Iterable

from ...language.dtypes import COMPUTE_DTYPE
from ...language.rule import Rule
from ...language.vocabulary import HostScalars
from ..exported import Exported
from ..templates import read
from .rule_text import RuleText, attributes_of, method_text, quoted

RESERVED = {
    "init", "step", "namespace", "scalars_of", "checked", "rule_for", "launch", "run", "pool",
    "update_one", "update_part", "total", "sum_rows", "sum_columns", "add_to_lanes", "lanes_for",
    "fold", "sum_in_lanes", "add_lines", "add_neighbours", "sum_as_row", "fold_by_halves", "total_of_chunk", "sqrt", "sign", "maximum", "minimum",
    "pointer", "options", "fetch_ahead", "prefetch", "check", "read_golden", "differing_elements", "from_float32",
    "from_float64", "from_float16", "from_bfloat16", "to_float16", "to_bfloat16", "np", "math",
    "CHUNK", "LANES", "ROW_CHUNK", "ROW_LANES", "STRIP_ROWS", "TILE_COLUMNS", "BLOCK", "COMPUTE", "PARAMS", "GRADS", "RULE",
    "MATRICES", "VECTORS", "SMALL_WORK", "HYPER",
}  # fmt: skip
TEXTS = read("python_file.py.txt")


class PythonFile:
    """The parts of a file, in order: docstring, imports, the rule, its vocabulary, the host."""

    def __init__(self, exported: Exported) -> None:
        self.exported, self.rules = exported, exported.rules
        self.label, self.defaults = exported.label, exported.rules[0].defaults
        hidden = {*RESERVED, *dir(builtins), "grad_coefficient", "SimpleNamespace"}
        for name in sorted(hidden & set(self.defaults)):
            raise ValueError(f"hyperparameter {name!r} is a name that the file itself needs")
        self.text_of_rule = RuleText({*RESERVED, self.label})
        self.names = [self.text_of_rule.add(rule.scalars) for rule in self.rules]

    def docstring(self, needs: str, about: Iterable[str] = ()) -> str:
        """Return what the file is, how to call it, and how to verify it."""
        exported, dtypes = self.exported, (self.exported.dtype, self.exported.grad_dtype)
        example = "".join(f", {name}={self.defaults[name]!r}" for name in [*self.defaults][:1])
        paragraphs = [
            f"{self.label}: updates {dtypes[0]} parameters with {dtypes[1]} "
            f"gradients, in place, with {needs}.",
            exported.reference,
            "    state = init(params)  # params, grads: lists of arrays\n"
            f"    step(params, grads, state{example})",
            *about,
            "Hyperparameters may change at any step. A gradient that is None leaves its parameter "
            "and its step count as they are. grad_coefficient multiplies each gradient as it is read: "
            "-1 to maximize, 1 / scale of a scaled loss, what a global norm is clipped by. State has "
            "torch's names. A complex parameter is passed as its view of reals.",
        ]
        if "bfloat16" in dtypes:
            paragraphs.append("bfloat16 arrays are of ml_dtypes' dtype, or of uint16, as bits.")
        if exported.check:
            paragraphs += [
                "As a program it replays a golden file (golden/README.md of samestep) and compares "
                "every bit:",
                f"    python {self.label}.py {exported.golden_file}",
            ]
        else:
            paragraphs += [
                "To verify it on your machine, write it with a main program that replays a golden "
                "file:",
                f"    {exported.command} --with-check -o {self.label}.py",
            ]
        paragraphs.append(f"Printed by samestep {exported.version} from the rule's own text.")
        text = "\n\n".join(p if p.startswith(" ") else textwrap.fill(p, 98) for p in paragraphs)
        return f'"""{text}\n"""\n'

    def imports(self, standard: Iterable[str] = (), third: Iterable[str] = ()) -> str:
        """Return import statements: of the standard library, and of others."""
        first = {
            "from types import SimpleNamespace",
            *standard,
            *self.text_of_rule.imports.values(),
        }
        others = {"import numpy as np", *third}
        first |= {"import json", "import sys"} if self.exported.check else set()
        if "math." in self.scalar_vocabulary():
            first.add("import math")
        return f"{_sorted(first - others)}\n\n{_sorted(others)}\n"

    def scalar_vocabulary(self) -> str:
        """Return the class of the functions that the rule's ``scalars`` call."""
        used = attributes_of("xp", str(self.text_of_rule))
        methods = [method_text(m) for name, m in vars(HostScalars).items() if name in used]
        text = "\n\n".join(methods)
        return TEXTS["scalar vocabulary"] + (f"\n{text}\n" if text else "")

    def constants(self, updates: Iterable[str]) -> str:
        """Return the dtypes, and for each variant its functions and state."""
        exported = self.exported
        lines = [f"COMPUTE = np.{COMPUTE_DTYPE[exported.dtype]}  # of arithmetic and state"]
        for name, dtype in (("PARAMS", exported.dtype), ("GRADS", exported.grad_dtype)):
            names = (dtype, "uint16") if dtype == "bfloat16" else (dtype,)
            lines.append(f"{name} = {quoted(names)}")
        variants, choice = ["RULE"], "RULE"
        if len(self.rules) > 1:
            variants, choice = ["MATRICES", "VECTORS"], "MATRICES if param.ndim >= 2 else VECTORS"
        texts = map(self._variant, self.rules, self.names, updates)
        lines += ["", *(f"{name} = {text}" for name, text in zip(variants, texts, strict=True))]
        return "\n".join([*lines, "", "", "def rule_for(param):", f"    return {choice}", ""])

    def _variant(self, rule: Rule, scalars: str, update: str) -> str:
        per, initial = rule.per, rule.initial
        each = [
            f'        "{name}": {quoted((per.get(name, "element"), initial.get(name, 0.0)))},\n'
            for name in rule.state
        ]
        what = "  # of what there is one number, and its initial value or hyperparameter\n"
        state = f"{{{what}{''.join(each)}    }}" if each else "{}"
        carry = ", ".join(f'"{name}": {value!r}' for name, value in rule.carry.items())
        return (
            f"SimpleNamespace(\n    scalars={scalars},\n    {update},\n"
            f"    carry={{{carry}}},\n    state={state},\n)"
        )

    def signature(self, *words: str, more: Iterable[str] = ()) -> str:
        """Return arguments: ``words``, then by keyword the hyperparameters and ``more``."""
        each = [f"{name}={value!r}" for name, value in self.defaults.items()]
        keywords = [*each, *more]
        return _arguments([*words, *(["*"] if keywords else []), *keywords])

    def given(self) -> str:
        """Return the hyperparameters as arguments that are passed on."""
        return _arguments([f"{name}={name}" for name in self.defaults], indent=4)

    def host(self) -> str:
        """Return the functions that both kinds of files have."""
        carry = ", what the scalars carry on" if any(rule.carry for rule in self.rules) else ""
        init = self.signature("params")
        return TEXTS["host"].format(init=init, given=self.given(), carry=carry)

    def step(self, text: str, **words: str) -> str:
        """Return the function that takes a step, from its template and the ``words`` in it."""
        signature = self.signature("params", "grads", "state", more=["grad_coefficient=1.0"])
        return text.format(signature=signature, given=self.given(), **words)


def joined(*parts: str) -> str:
    """Return the parts of a file that are not empty, two blank lines apart."""
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _arguments(arguments: list[str], indent: int = 0) -> str:
    """Return arguments in one line, or a line each."""
    line = ", ".join(arguments)
    if len(line) + indent < 82:
        return line
    each = "".join(f"{' ' * (indent + 4)}{argument},\n" for argument in arguments)
    return f"\n{each}{' ' * indent}"


def _sorted(lines: Iterable[str]) -> str:
    return "\n".join(sorted(lines, key=lambda line: (line.startswith("from"), line)))
