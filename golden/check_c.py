"""A ``main`` for exported C: it replays a golden file and compares every bit.

The reader is that of ``reader.c``; ``check.c`` has what all checks share. Written here is what
depends on the rule: its hyperparameters, scalars and arrays.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..dtypes import COMPUTE_DTYPE
from ..export import Exported
from ..program import Program
from ..rule import CLIPS, Rule
from .format import DTYPES

FOLDER = Path(__file__).parent
C_TYPE = {"float64": "double", "float32": "float", "bfloat16": "uint16_t", "float16": "uint16_t"}
NAME_OF = {dtype: name for name, dtype in DTYPES.items()}
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
    family, programs, dtype = exported.family, exported.programs, exported.dtype
    reader = (
        (FOLDER / "reader.c").read_text(encoding="utf-8").partition("/* ---- the example */")[0]
    )
    includes = reader[reader.index("#include") :]
    text = (FOLDER / "check.c").read_text(encoding="utf-8")
    steps = "".join(_steps(program, dtype) for program in programs)
    text = text.replace("\n/* ---- */\n", "").replace(VARIANTS, VARIANTS + "\n" + steps)
    text = text.replace(
        f"    {REQUIREMENTS}", "".join(f"    {x}\n" for x in _required(family, programs, dtype))
    )
    text = text.replace(f"        {SHAPE}", "".join(f"        {x}\n" for x in _dispatch(programs)))
    return (includes + text).rstrip("\n") + "\n"


def _required(family: Rule, programs: Sequence[Program], dtype: str) -> list[str]:
    options = json.dumps(dict(family.options), sort_keys=True, separators=(",", ":"))
    words = [f'"rule":"{family.name}"', f'"options":{options}', f'"dtype":"{dtype}"']
    lines = [f"require({json.dumps(each + ',')});" for each in words]
    for clip in CLIPS:
        if clip not in programs[0].rule.defaults:
            lines.append(
                f'if (look_up(strstr(fields, "\\"hyperparameters\\":{{"), "{clip}", 0, NULL))'
            )
            lines.append(f'    fail("clips, which these functions do not", "{clip}");')
    return lines


def _dispatch(programs: Sequence[Program]) -> list[str]:
    calls = [f"check_{p.rule.label}(&file, tensor, start, steps);" for p in programs]
    if len(calls) == 1:
        return calls
    return ["if (start.axes >= 2)", f"    {calls[0]}", "else", f"    {calls[1]}"]


def _steps(program: Program, dtype: str) -> str:
    """The function that takes one tensor through all steps of a file."""
    rule, label = program.rule, program.rule.label
    compute = COMPUTE_DTYPE[dtype]
    stored, real = C_TYPE[dtype], C_TYPE[compute]
    reducing = bool(program.sums or program.crossings or program.small)
    full, small = [a for a in program.arrays if a in rule.state], list(program.small)
    counts = {name: _COUNT[rule.per.get(name, "element")] for name in (*full, *small)}
    lines = ["const size_t n = start.count;"]
    if program.matrix:
        lines.append("const size_t rows = start.rows, columns = rows ? n / rows : 0;")
    lines.append(f"{stored} *params = ({stored} *)memory(n, sizeof *params);")
    lines += [
        f"{real} *state_{name} = ({real} *)memory({count}, sizeof *state_{name});"
        for name, count in counts.items()
    ]
    sizes = "(int64_t)rows, (int64_t)columns" if program.matrix else "(int64_t)n"
    if reducing:
        space = f"(size_t){label}_workspace({sizes})"
        lines.append(f"{real} *workspace = ({real} *)memory({space}, sizeof *workspace);")
    if rule.carry:
        lines.append(f"{label}_carry carry = {label}_initial_carry();")
    lines += [
        "int stepped = 0;",
        "memcpy(params, start.data, n * sizeof *params);",
        "for (int step = 1; step <= steps; step++) {",
        f"    {label}_hyper h;",
        *(f"    h.{place} = number({name}, step);" for place, name in _places(rule)),
    ]
    states = "".join(f", state_{name}" for name in (*full, *small))
    if states:
        lines.append(f"    if (step == 1) {label}_init(&h, {sizes}{states});")
    lines += [
        f"    const {stored} *grads = (const {stored} *)tensor_at(",
        f'        file, "grad", step, tensor, "", "{NAME_OF[dtype]}", n);',
        "    if (grads) {",
        *(f"        {line}" for line in _one_step(program, real, sizes, states, reducing)),
        "    }",
        *(f"    {line}" for line in _compared("param", "", "params", "n", NAME_OF[dtype])),
    ]
    for name, count in counts.items():
        compared = _compared("state", f".{name}", f"state_{name}", count, NAME_OF[compute])
        lines += [f"    {line}" for line in compared]
    lines.append("}")
    owned = ["params", *(f"state_{name}" for name in counts), *(["workspace"] if reducing else [])]
    lines += [f"free({name});" for name in owned]
    body = "".join(f"    {line}\n" for line in lines)
    head = f"static void check_{label}("
    head += "\n    const golden_file *file, const char *tensor, golden_tensor start, int steps)"
    return f"{head}\n{{\n{body}}}\n\n"


_COUNT = {"element": "n", "row": "rows", "column": "columns", "tensor": "1"}


def _places(rule: Rule) -> list[tuple[str, str]]:
    """Each number of the structure of hyperparameters, and where to find it."""
    found = []
    for name, default in rule.defaults.items():
        if isinstance(default, tuple):
            found += [(f"{name}[{i}]", f'"{name}", {i}') for i in range(len(default))]
        else:
            found.append((name, f'"{name}", 0'))
    return found


def _one_step(program: Program, real: str, sizes: str, states: str, reducing: bool) -> list[str]:
    label, count = program.rule.label, len(program.scalars)
    carry = "&carry, " if program.rule.carry else ""
    lines = [f"{label}_scalars s = {label}_compute_scalars(++stepped, {carry}&h);"]
    if count:
        lines += [
            f"{real} row[{count}], expected[{count}];",
            "const double *scalars = (const double *)tensor_at(",
            f'    file, "scalars", step, tensor, "", "F64", {count});',
            "memcpy(row, &s, sizeof row);",
            f"for (int k = 0; scalars && k < {count}; k++) expected[k] = ({real})scalars[k];",
            f'compare("scalars", step, tensor, "", "{"F64" if real == "double" else "F32"}", row,',
            f"        scalars ? expected : NULL, {count});",
        ]
    if program.rule.carry:
        count = len(program.rule.carry)
        lines += _compared("carry", "", "&carry", str(count), "F64")
    workspace = ", workspace" if reducing else ""
    lines += [
        's.grad_coefficient = number("maximize", 0, step) != 0 ? -1 : 1;',
        f"{label}_update(&s, {sizes}, params, grads{states}{workspace});",
    ]
    return lines


def _compared(kind: str, suffix: str, ours: str, count: str, dtype: str) -> list[str]:
    place = f'"{kind}", step, tensor, "{suffix}", "{dtype}"'
    return [f"compare({place}, {ours},", f"        tensor_at(file, {place}, {count}), {count});"]
