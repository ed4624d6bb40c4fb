"""The parts that exported Python files share: docstring, the rule's text, scalars, state."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from ...language.blockwise import (
    BLOCKWISE,
    Blockwise,
    in_blocks,
    load_blocks,
    scales_of,
    store_blocks,
)
from ...language.dtypes import COMPUTE_DTYPE
from ...language.rule import Rule
from ...language.vocabulary import HostScalars
from ..exported import Exported
from ..maps import name_of_map
from ..numba import Numba
from ..quoting import in_docstring, literal
from ..templates import Words, filled, read
from .about import TEXTS as ABOUT
from .about import about
from .rule_text import RuleText, attributes, function_text, method_text, names_of

TEXTS = read("python_file.py.txt")


class PythonFile:
    """The parts of a file, in order: docstring, imports, the rule, its vocabulary, the host.

    ``rest`` is the file's text without the rule's own, which keeps clear of the names in it; None
    for the parts of that text.
    """

    def __init__(self, exported: Exported, rest: str | None) -> None:
        self.exported, self.rules = exported, exported.rules
        self.defaults, self.rounds = exported.rules[0].numbers, exported.family.stochastic
        if clash := sorted(_needed(rest or "") & set(self.defaults)):
            raise ValueError(f"hyperparameter {clash[0]!r} is a name that the file itself needs")
        stored = {n: codec for rule in self.rules for n, codec in rule.storage.items()}
        self.blocks = {n: BLOCKWISE[codec] for n, codec in stored.items() if codec in BLOCKWISE}
        self.storage = {n: codec for n, codec in stored.items() if n not in self.blocks}
        self.text_of_rule = RuleText(names_of(rest or ""))
        self.complete = rest is not None
        self.names = [self.text_of_rule.add(rule.scalars) for rule in self.rules]

    def docstring(self, needs: str, temporaries: bool) -> str:
        """Return what the file is, how to call it, and how to verify it. ``temporaries``: it makes
        some that are as large as a parameter."""
        dtypes = (self.exported.dtype, self.exported.grad_dtype)
        words: Words = {
            "NEEDS": needs,
            "EXAMPLE": "".join(
                f", {name}={literal(self.defaults[name])}" for name in [*self.defaults][:1]
            ),
            "TEMPORARIES": ABOUT["temporaries"] if temporaries else "",
            "BFLOAT": ABOUT["bfloat16"] if "bfloat16" in dtypes else "",
            "STORED": self._about_storage(),
            "ROUNDED": ABOUT["rounded"] if self.rounds else "",
        }
        text = "\n\n".join(
            paragraph if paragraph.startswith(" ") else textwrap.fill(paragraph, 98)
            for paragraph in about(self.exported, "python", words)
        )
        return f'"""{in_docstring(text)}\n"""\n'

    def _about_storage(self) -> str:
        """Return the sentences about states that codecs store."""
        text = ""
        if self.storage:
            listed = ", ".join(f"{name} in {codec}" for name, codec in self.storage.items())
            bits = "; bfloat16 as uint16, its bits" if "bfloat16" in self.storage.values() else ""
            text = f"States are stored in fewer bits, rounded once a step: {listed}{bits}. "
        if self.blocks:
            listed = ", ".join(
                f"{name} in codes of {codec.name}, and {scales_of(name)} has a float32 for each "
                f"{codec.size} elements"
                for name, codec in self.blocks.items()
            )
            text += f"States are stored in blocks: {listed}."
        return text.rstrip()

    def imports(self, standard: Iterable[str] = (), third: Iterable[str] = ()) -> str:
        """Return import statements: of the standard library, and of others."""
        first = {
            "from types import SimpleNamespace",
            *standard,
            *(self.text_of_rule.imports.values() if self.complete else ()),
        }
        others = {"import numpy as np", *third}
        first |= {"import json", "import sys"} if self.exported.check else set()
        if "math." in self.scalar_vocabulary():
            first.add("import math")
        return f"{_sorted(first - others)}\n\n{_sorted(others)}\n"

    @property
    def own_text(self) -> str:
        """The rule's own text."""
        return str(self.text_of_rule) if self.complete else ""

    def scalar_vocabulary(self) -> str:
        """Return the class of the functions that the rule's ``scalars`` call."""
        used = attributes(str(self.text_of_rule))
        methods = [method_text(m) for name, m in vars(HostScalars).items() if name in used]
        text = "\n\n".join(methods)
        return TEXTS["scalar vocabulary"] + (f"\n{text}\n" if text else "")

    def constants(self, updates: Iterable[str]) -> str:
        """Return the dtypes, and for each variant its functions and state."""
        exported = self.exported
        lines = [f"COMPUTE = np.{COMPUTE_DTYPE[exported.dtype]}  # of arithmetic and state"]
        for name, dtype in (("PARAMS", exported.dtype), ("GRADS", exported.grad_dtype)):
            names = (dtype, "uint16") if dtype == "bfloat16" else (dtype,)
            lines.append(f"{name} = {literal(names)}")
        if self.storage:
            lines.append(f"STORED = {literal(self.storage)}  # states in other dtypes")
        if self.blocks:
            each = [f"    {literal(n)}: {_of_blocks(c)},\n" for n, c in self.blocks.items()]
            about = "# size, largest code or map, bits that find the largest element and of a code, dtype"
            lines += [about, f"BLOCKS = {{\n{''.join(each)}}}"]
        variants, choice = ["RULE"], "RULE"
        if len(self.rules) > 1:
            variants, choice = ["MATRICES", "VECTORS"], "MATRICES if param.ndim >= 2 else VECTORS"
        texts = map(self._variant, self.rules, self.names, updates)
        lines += ["", *(f"{name} = {text}" for name, text in zip(variants, texts, strict=True))]
        return "\n".join([*lines, "", "", "def rule_for(param):", f"    return {choice}", ""])

    def _variant(self, rule: Rule, scalars: str, update: str) -> str:
        per, initial = rule.per, rule.initial
        each = [
            f'        "{name}": {literal((per.get(name, "element"), initial.get(name, 0.0)))},\n'
            for name in rule.state
        ]
        what = "  # of what there is one number, and its initial value or hyperparameter\n"
        state = f"{{{what}{''.join(each)}    }}" if each else "{}"
        carry = ", ".join(f'"{name}": {literal(value)}' for name, value in rule.carry.items())
        return (
            f"SimpleNamespace(\n    scalars={scalars},\n    {update},\n"
            f"    carry={{{carry}}},\n    state={state},\n)"
        )

    def signature(self, *words: str, more: Iterable[str] = ()) -> str:
        """Return arguments: ``words``, then by keyword the hyperparameters and ``more``."""
        each = [f"{name}={literal(value)}" for name, value in self.defaults.items()]
        keywords = [*each, *more]
        return _arguments([*words, *(["*"] if keywords else []), *keywords])

    def given(self) -> str:
        """Return the hyperparameters as arguments that are passed on."""
        return _arguments([f"{name}={name}" for name in self.defaults], indent=4)

    def host(self) -> str:
        """Return the functions that both kinds of files have."""
        carry = ", what the scalars carry on" if any(rule.carry for rule in self.rules) else ""
        words: Words = {
            "INIT": self.signature("params"),
            "GIVEN": self.given(),
            "CARRY": carry,
            "BLOCKS": self._first_blocks(),
            "FIRST": "*first(name, value)" if self.storage else "value, COMPUTE",
            "KEY": ['row |= random_key(h.seed, entry["step"] + 1)'] * self.rounds,
        }
        stored = f"\n{TEXTS['first stored']}" if self.storage else ""
        key = f"\n{TEXTS['random key']}" if self.rounds else ""
        return filled(TEXTS["host"], words) + stored + key

    def _first_blocks(self) -> list[str]:
        """Return the lines that store a state in blocks before the first step."""
        whole, pairs = "codes.reshape(shape)", " if BLOCKS[name][3] == 8 else codes"
        packed = any(codec.bits == 4 for codec in self.blocks.values())
        words: Words = {"CODES": whole + pairs * packed}
        return filled(TEXTS["first blocks"], words).splitlines() if self.blocks else []

    def maps(self) -> str:
        """Return the maps of codecs, where printed kernels do not have them."""
        names = {name_of_map(c.name) for c in self.blocks.values() if c.most is None}
        return "".join(f"{Numba.helpers[name].lstrip()}\n" for name in sorted(names))

    def block_functions(self, loads: bool) -> str:
        """Return the functions that store states in blocks, and that load them if asked to."""
        functions: list[Callable[..., Any]] = [store_blocks, in_blocks]
        functions = [load_blocks, *functions] if loads else functions
        return "".join(f"\n\n{function_text(f)}\n" for f in functions if self.blocks)

    def step(self, text: str, words: Words) -> str:
        """Return the function that takes a step, from its template and the ``words`` in it."""
        signature = self.signature("params", "grads", "state", more=["grad_coefficient=1.0"])
        each, over = "param, grad, entry", "zip(params, grads, state, strict=True)"
        if self.rounds:  # by random bits, which go by the position, too
            each, over = f"i, ({each})", f"enumerate({over})"
        own: Words = {"SIGNATURE": signature, "GIVEN": self.given(), "EACH": each, "OVER": over}
        return filled(text, {**own, **words})


def whole_file(exported: Exported, text: Callable[[PythonFile], str]) -> str:
    """Return the ``text`` of a file, in which no name of the rule's own text is one of the
    rest's."""
    return text(PythonFile(exported, text(PythonFile(exported, None))))


def _needed(rest: str) -> set[str]:
    """Return the names that no hyperparameter may have, since functions that take these need them
    for something else."""
    names = {"grad_coefficient"}
    for function in ast.parse(rest).body:
        if isinstance(function, ast.FunctionDef) and function.name in ("init", "step"):
            nodes = [*ast.walk(function)]
            passed = {id(node.value) for node in nodes if isinstance(node, ast.keyword)}
            used = [node for node in nodes if isinstance(node, ast.Name) and id(node) not in passed]
            own = {node.id for node in used if isinstance(node.ctx, ast.Store)}
            names |= {node.id for node in used} - own
    return names


def _of_blocks(codec: Blockwise) -> str:
    """Return what the functions of blocks take, as a tuple."""
    code = name_of_map(codec.name) if codec.most is None else codec.most
    return f"({codec.size}, {code}, {codec.mask}, {codec.bits}, {literal(codec.dtype)})"


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
