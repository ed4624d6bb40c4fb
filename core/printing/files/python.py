"""What exported Python files have in common: the docstring, the rule's text, scalars, state."""

from __future__ import annotations

import builtins
import re
import textwrap
from collections.abc import Iterable

from ...language.dtypes import COMPUTE_DTYPE
from ...language.rule import Rule
from ...language.vocabulary import HostScalars
from ..export import Exported
from .rule_text import RuleText, method_text

WIDTH = 98
HOST = '''
def init({init}):
    """The state of parameters before the first step: for each a dict with its step count{carry}
    and its state arrays."""
    h = namespace({given})
    state = []
    for param in params:
        rule, shape = rule_for(param), param.shape
        shapes = {{"element": shape, "row": shape[:1], "column": shape[1:], "tensor": ()}}
        entry = {{"step": 0, **rule.carry}}
        for name, (per, initial) in rule.state.items():
            value = getattr(h, initial) if isinstance(initial, str) else initial
            entry[name] = np.full(shapes[per], value, COMPUTE)
        state.append(entry)
    return state


def namespace(**hyper):
    """Hyperparameters as the rule's text has them: attributes, in float64."""
    listed = (tuple, list)
    return SimpleNamespace(
        **{{
            name: tuple(map(np.float64, value)) if isinstance(value, listed) else np.float64(value)
            for name, value in hyper.items()
        }}
    )


def scalars_of(rule, entry, h, grad_coefficient):
    """What is equal for all elements of a parameter, each rounded once, and the new carry."""
    with np.errstate(all="ignore"):
        carry = SimpleNamespace(**{{name: np.float64(entry[name]) for name in rule.carry}})
        row, after = rule.scalars(ScalarVocabulary(), np.float64(entry["step"] + 1), carry, h)
        row = {{name: COMPUTE(value) for name, value in row.items()}}
    after = after if isinstance(after, dict) else vars(after)
    return dict(row, grad_coefficient=COMPUTE(grad_coefficient)), after


def checked(params, grads):
    """Raise before anything is changed."""
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        for what, array, dtypes in (("parameter", param, PARAMS), ("gradient", grad, GRADS)):
            if array is None and what == "gradient":
                continue
            if array.dtype.name not in dtypes:
                raise TypeError(f"{{what}} {{i}} is {{array.dtype}}; expected {{dtypes[0]}}")
            if array.shape != param.shape:
                raise ValueError(f"{{what}} {{i}} has shape {{array.shape}}; expected {{param.shape}}")
            if not array.flags.c_contiguous:
                raise ValueError(f"{{what}} {{i}} is not C-contiguous")
'''
RESERVED = {
    "init", "step", "namespace", "scalars_of", "checked", "rule_for", "launch", "run", "pool",
    "update_one", "update_part", "total", "sum_rows", "sum_columns", "add_to_lanes", "lanes_for",
    "fold", "fold_strips", "fold_by_halves", "total_of_chunk", "sqrt", "sign", "maximum", "minimum",
    "pointer", "options", "fetch_ahead", "prefetch", "check", "read_golden", "differing_elements", "from_float32",
    "from_float64", "from_float16", "from_bfloat16", "to_float16", "to_bfloat16", "np", "math",
    "CHUNK", "LANES", "ROW_LANES", "STRIP_ROWS", "BLOCK", "COMPUTE", "PARAMS", "GRADS", "RULE",
    "MATRICES", "VECTORS", "SMALL_WORK", "HYPER",
}  # fmt: skip
SCALAR_VOCABULARY = '''
class ScalarVocabulary:
    """What `scalars` may call, in float64. pow and exp are the C library's."""

    number = np.float64
'''


class PythonFile:
    """The parts of a file, in order: docstring, imports, the rule, its vocabulary, the host."""

    def __init__(self, exported: Exported) -> None:
        self.exported, self.rules = exported, exported.rules
        self.compute = COMPUTE_DTYPE[exported.dtype]
        self.label = self.rules[0].label
        hidden = {*RESERVED, *dir(builtins), "grad_coefficient", "SimpleNamespace"}
        for name in sorted(hidden & set(self.rules[0].defaults)):
            raise ValueError(f"hyperparameter {name!r} is a name that the file itself needs")
        self.text_of_rule = RuleText({*RESERVED, self.label})
        self.names = [self.text_of_rule.add(rule.scalars) for rule in self.rules]

    def docstring(self, needs: str, about: Iterable[str]) -> str:
        exported, hyper = self.exported, self.rules[0].defaults
        example = next(iter(hyper), "")
        example = f", {example}={hyper[example]!r}" if example else ""
        paragraphs = [
            f"{self.label}: updates {exported.dtype} parameters with {exported.grad_dtype} "
            f"gradients, in place, with {needs}.",
            self.rules[0].reference or "A rule of the user's own.",
            "    state = init(params)  # params, grads: lists of arrays\n"
            f"    step(params, grads, state{example})",
            *about,
            "Hyperparameters may change at any step. A gradient that is None leaves its parameter "
            "and its step count as they are. grad_coefficient multiplies each gradient as it is read: "
            "-1 to maximize, 1 / scale of a scaled loss, what a global norm is clipped by. State has "
            "torch's names. A complex parameter is passed as its view of reals.",
        ]
        if "bfloat16" in (exported.dtype, exported.grad_dtype):
            paragraphs.append("bfloat16 arrays are of ml_dtypes' dtype, or of uint16, as bits.")
        if exported.check:
            paragraphs.append(
                "As a program it replays a golden file (golden/README.md of samestep) and compares "
                f"every bit:\n\n    python {self.label}.py {exported.golden_file}"
            )
        else:
            paragraphs.append(
                "To verify it on your machine, write it with a main program that replays a golden "
                f"file:\n\n    {exported.command} --with-check -o {self.label}.py"
            )
        paragraphs.append(f"Printed by samestep {exported.version} from the rule's own text.")
        text = "\n\n".join(
            p if p.startswith(" ") else "\n\n".join(_filled(part) for part in p.split("\n\n"))
            for p in paragraphs
        )
        return f'"""{text}\n"""\n'

    def imports(self, *others: str) -> str:
        standard = {"from types import SimpleNamespace", *self.text_of_rule.imports.values()}
        third = {"import numpy as np", *(x for x in others if "numba" in x or "numpy" in x)}
        standard |= {x for x in others if x not in third}
        standard |= {"import json", "import sys"} if self.exported.check else set()
        if "math." in self.scalar_vocabulary():
            standard.add("import math")
        return f"{_sorted(standard - third)}\n\n{_sorted(third)}\n"

    def scalar_vocabulary(self) -> str:
        used = set(re.findall(r"\bxp\.(\w+)", str(self.text_of_rule)))
        methods = [m for name, m in vars(HostScalars).items() if name in used]
        text = "\n\n".join(method_text(method) for method in methods)
        return SCALAR_VOCABULARY + (f"\n{text}\n" if text else "")

    def constants(self, updates: Iterable[str]) -> str:
        """The dtypes, and for each variant its functions and state."""
        lines = [f"COMPUTE = np.{self.compute}  # of arithmetic and state"]
        for name, dtype in (("PARAMS", self.exported.dtype), ("GRADS", self.exported.grad_dtype)):
            names = (dtype, "uint16") if dtype == "bfloat16" else (dtype,)
            lines.append(f"{name} = {_quoted(names)}")
        lines.append("")
        variants = [
            self._variant(rule, scalars, update)
            for rule, scalars, update in zip(self.rules, self.names, updates, strict=True)
        ]
        if len(variants) == 1:
            lines += [f"RULE = {variants[0]}"]
        else:
            lines += [f"MATRICES = {variants[0]}", f"VECTORS = {variants[1]}"]
        choice = "RULE" if len(variants) == 1 else "MATRICES if param.ndim >= 2 else VECTORS"
        lines += ["", "", "def rule_for(param):"]
        lines += [f"    return {choice}"]
        return "\n".join(lines) + "\n"

    def _variant(self, rule: Rule, scalars: str, update: str) -> str:
        each = [
            f'        "{name}": {_quoted((rule.per.get(name, "element"), rule.initial.get(name, 0.0)))},\n'
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
        """Arguments: ``words``, then by keyword the hyperparameters and ``more``."""
        each = [f"{name}={value!r}" for name, value in self.rules[0].defaults.items()]
        keywords = [*each, *more]
        return _arguments([*words, *(["*"] if keywords else []), *keywords])

    def given(self) -> str:
        """The hyperparameters passed on."""
        return _arguments([f"{name}={name}" for name in self.rules[0].defaults], indent=4)

    def host(self) -> str:
        carry = ", what the scalars carry on" if any(rule.carry for rule in self.rules) else ""
        return HOST.format(init=self.signature("params"), given=self.given(), carry=carry)


def _arguments(arguments: list[str], indent: int = 0) -> str:
    """In one line, or a line each."""
    line = ", ".join(arguments)
    if len(line) + indent < 82:
        return line
    each = "".join(f"{' ' * (indent + 4)}{argument},\n" for argument in arguments)
    return f"\n{each}{' ' * indent}"


def _quoted(values: tuple[object, ...]) -> str:
    """A tuple's text with double quotes."""
    return repr(values).replace("'", '"')


def _filled(text: str) -> str:
    return text if text.startswith(" ") else textwrap.fill(text, WIDTH)


def _sorted(lines: Iterable[str]) -> str:
    return "\n".join(sorted(lines, key=lambda line: (line.startswith("from"), line)))
