"""A ``main`` for exported C: it replays a golden file and compares every bit.

The reader is that of ``golden_reader.c``; ``check.c`` has what all checks share. Written here is what
depends on the rule: its hyperparameters, scalars and arrays.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ...language.dtypes import COMPUTE_DTYPE
from ...language.passes import Program
from ...language.rule import CLIPS
from ..c_names import field
from ..export import Exported

FOLDER = Path(__file__).parent
C_TYPE = {"float64": "double", "float32": "float", "bfloat16": "uint16_t", "float16": "uint16_t"}
NAME_OF = {"float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16"}
COUNT = {"element": "n", "row": "rows", "column": "columns", "tensor": "1"}
VARIANTS, REQUIREMENTS, SHAPE = (
    f"/* {words} */\n"
    for words in (
        "---- one tensor's steps, for each variant of the rule",
        "requirements",
        "the variant for its shape",
    )
)


def check_program(exported: Exported) -> str:
    """What stands behind exported functions so that they become a program."""
    return program_text(exported, [Steps(p, exported.dtype) for p in exported.programs])


def program_text(exported: Exported, variants: Sequence[Steps]) -> str:
    """The reader, what is shared, the variants' steps and ``main``."""
    reader = (
        (FOLDER / "golden_reader.c")
        .read_text(encoding="utf-8")
        .partition("/* ---- the example */")[0]
    )
    text = (FOLDER / "check.c").read_text(encoding="utf-8").replace("\n/* ---- */\n", "")
    steps = "\n".join(str(variant) for variant in variants)
    required = "".join(f"    {line}\n" for line in _required(exported))
    dispatch = "".join(f"        {line}\n" for line in _dispatch(exported))
    text = text.replace(VARIANTS, f"{VARIANTS}\n{steps}")
    text = text.replace(f"    {REQUIREMENTS}", required).replace(f"        {SHAPE}", dispatch)
    return reader[reader.index("#include") :] + text


def _required(exported: Exported) -> list[str]:
    family, rule = exported.family, exported.rules[0]
    options = json.dumps(dict(family.options), sort_keys=True, separators=(",", ":"))
    words = [f'"rule":"{family.name}"', f'"options":{options}', f'"dtype":"{exported.dtype}"']
    lines = [f"require({json.dumps(each + ',')});" for each in words]
    for clip in CLIPS:
        if clip not in rule.defaults:
            hyper = 'strstr(fields, "\\"hyperparameters\\":{")'
            lines.append(f'if (look_up({hyper}, "{clip}", 0, NULL))')
            lines.append(f'    fail("clips, which these functions do not", "{clip}");')
    return lines


def _dispatch(exported: Exported) -> list[str]:
    calls = [f"check_{rule.label}(&file, tensor, start, steps);" for rule in exported.rules]
    if len(calls) == 1:
        return calls
    return ["if (start.axes >= 2)", f"    {calls[0]}", "else", f"    {calls[1]}"]


class Steps:
    """The function that takes one tensor through all steps of a file."""

    release = "free"

    def __init__(self, program: Program, dtype: str) -> None:
        self.program, self.rule, self.label = program, program.rule, program.rule.label
        self.dtype, self.compute = dtype, COMPUTE_DTYPE[dtype]
        self.stored, self.real = C_TYPE[dtype], C_TYPE[self.compute]
        names = [a for a in program.arrays if a in self.rule.state] + list(program.small)
        self.counts = {f"state_{n}": COUNT[self.rule.per.get(n, "element")] for n in names}
        self.reducing = bool(program.sums or program.crossings or program.small)
        self.sizes = ["(int64_t)rows", "(int64_t)columns"] if program.matrix else ["(int64_t)n"]

    def __str__(self) -> str:
        owned = {"params": (self.stored, "n")}
        owned |= {name: (self.real, count) for name, count in self.counts.items()}
        owned |= self.extra_memory()
        lines = ["const size_t n = start.count;"]
        if self.program.matrix:
            lines.append("const size_t rows = start.rows, columns = rows ? n / rows : 0;")
        lines += [
            f"{kind} *{name} = ({kind} *)memory({count}, sizeof *{name});"
            for name, (kind, count) in owned.items()
        ]
        if self.rule.carry:
            lines.append(f"{self.label}_carry carry = {self.label}_initial_carry();")
        lines += ["int stepped = 0;", "memcpy(params, start.data, n * sizeof *params);"]
        lines += self.prepared()
        loop = [f"{self.label}_hyper h = {self.label}_defaults();"]
        loop += [f"h.{place} = number({name}, step);" for place, name in self._places()]
        if self.counts:
            loop += ["if (step == 1) {", *_indented(self.initialized()), "}"]
        loop += [
            f"const {self.stored} *grads = (const {self.stored} *)tensor_at(",
            f'    file, "grad", step, tensor, "", "{NAME_OF[self.dtype]}", n);',
            "if (grads) {",
            *_indented([*self._scalars(), *self.updated()]),
            "}",
            *_compared("param", "", "params", "n", NAME_OF[self.dtype]),
        ]
        for name, count in self.counts.items():
            suffix = f".{name.removeprefix('state_')}"
            loop += _compared("state", suffix, name, count, NAME_OF[self.compute])
        lines += ["for (int step = 1; step <= steps; step++) {", *_indented(loop), "}"]
        lines += self.finished()
        lines += [f"{self.release}({name});" for name in owned]
        head = f"static void check_{self.label}("
        head += "\n    const golden_file *file, const char *tensor, golden_tensor start, int steps)"
        body = "\n".join(_indented(lines))
        return f"{head}\n{{\n{body}\n}}\n"

    def _places(self) -> list[tuple[str, str]]:
        """Each number of the structure of hyperparameters, and where to find it."""
        found = []
        for name, default in self.rule.defaults.items():
            if isinstance(default, tuple):
                found += [(f"{field(name)}[{i}]", f'"{name}", {i}') for i in range(len(default))]
            else:
                found.append((field(name), f'"{name}", 0'))
        return found

    def _scalars(self) -> list[str]:
        """Compute and compare them."""
        count, real = len(self.program.scalars), self.real
        carry = "&carry, " if self.rule.carry else ""
        lines = [f"{self.label}_scalars s = {self.label}_compute_scalars(++stepped, {carry}&h);"]
        if count:
            dtype = NAME_OF[self.compute]
            lines += [
                f"{real} row[{count}], expected[{count}];",
                "const double *scalars = (const double *)tensor_at(",
                f'    file, "scalars", step, tensor, "", "F64", {count});',
                "memcpy(row, &s, sizeof row);",
                f"for (int k = 0; scalars && k < {count}; k++) expected[k] = ({real})scalars[k];",
                f'compare("scalars", step, tensor, "", "{dtype}", row,',
                f"        scalars ? expected : NULL, {count});",
            ]
        if self.rule.carry:
            lines += _compared("carry", "", "&carry", str(len(self.rule.carry)), "F64")
        lines.append('s.grad_coefficient = number("maximize", 0, step) != 0 ? -1 : 1;')
        return lines

    # ---- how the exported functions are called

    def extra_memory(self) -> dict[str, tuple[str, str]]:
        """Arrays besides parameter and state: name to type and count."""
        if not self.reducing:
            return {}
        count = f"(size_t){self.label}_workspace({', '.join(self.sizes)})"
        return {"workspace": (self.real, count)}

    def prepared(self) -> list[str]:
        """Before the first step."""
        return []

    def initialized(self) -> list[str]:
        """The state, at the first step."""
        return [f"{self.label}_init({', '.join(['&h', *self.sizes, *self.counts])});"]

    def updated(self) -> list[str]:
        """One step with the scalars ``s``."""
        arguments = ["&s", *self.sizes, "params", "grads", *self.counts]
        arguments += ["workspace"] * self.reducing
        return [f"{self.label}_update({', '.join(arguments)});"]

    def finished(self) -> list[str]:
        """After the last step."""
        return []


def _compared(kind: str, suffix: str, ours: str, count: str, dtype: str) -> list[str]:
    place = f'"{kind}", step, tensor, "{suffix}", "{dtype}"'
    return [f"compare({place}, {ours},", f"        tensor_at(file, {place}, {count}), {count});"]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
