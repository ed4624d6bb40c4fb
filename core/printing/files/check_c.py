"""A ``main`` for exported C or CUDA: it replays a golden file and compares every bit.

The reader is that of ``golden_reader.c``; ``templates/check.c`` has what all checks share. Written
here is what depends on the rule: its hyperparameters, scalars and arrays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ...language.rule import CLIPS
from ..c import C
from ..c_family import C_TYPE
from ..c_host import numbers, states
from ..exported import Exported
from ..printer import Printer
from ..target import Lines, indented
from ..templates import read

READER = Path(__file__).parent / "golden_reader.c"
DTYPE_NAME = {"float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16"}
COUNT = {"element": "n", "row": "rows", "column": "columns", "tensor": "1"}


class Calls(NamedTuple):
    """The calls of exported functions, as statements."""

    release: str  # the function that frees memory
    arrays: dict[str, tuple[str, str]]  # that they need besides parameter and state: type and count
    prepared: Lines  # before the first step
    initialized: Lines  # the state, at the first step
    updated: Lines  # one step with the scalars `s`
    finished: Lines  # after the last step


def check_program(exported: Exported) -> str:
    """Return the text behind exported functions that makes them a program."""
    reader, _, _ = READER.read_text(encoding="utf-8").partition("/* ---- the example */")
    texts, memory = read("check.c"), "memory"
    if exported.target == "cuda":
        memory = "memory of the device"
    steps = [_steps(exported, printer) for printer in exported.printers(C)]
    main = texts["main"].replace("@REQUIREMENTS", "\n    ".join(_required(exported)))
    main = main.replace("@DISPATCH", "\n        ".join(_dispatch(exported)))
    parts = [reader[reader.index("#include") :], texts["fields"], texts[memory], texts["bits"]]
    return "".join([*parts, "\n".join(steps), main])


def _required(exported: Exported) -> Lines:
    """Return statements that refuse a file of another rule, variant, or dtype."""
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


def _dispatch(exported: Exported) -> Lines:
    """Return the call of the variant for a tensor's shape."""
    calls = [f"check_{rule.label}(&file, tensor, start, steps);" for rule in exported.rules]
    if len(calls) == 1:
        return calls
    return ["if (start.axes >= 2)", f"    {calls[0]}", "else", f"    {calls[1]}"]


def _steps(exported: Exported, p: Printer) -> str:
    """Return the function that takes one tensor through all steps of a file."""
    label, stored, real = p.rule.label, C_TYPE[exported.dtype], p.target.real
    counts = {f"state_{name}": COUNT[p.rule.per.get(name, "element")] for name in states(p)}
    tensor_sizes = [
        f"(int64_t){size}" for size in (["rows", "columns"] if p.layout.matrix else ["n"])
    ]
    make = _device_calls if exported.target == "cuda" else _host_calls
    calls = make(p, stored, [*counts], tensor_sizes)
    owned = {"params": (stored, "n")} | {name: (real, count) for name, count in counts.items()}
    owned |= calls.arrays
    lines = ["const size_t n = start.count;"]
    if p.layout.matrix:
        lines.append("const size_t rows = start.rows, columns = rows ? n / rows : 0;")
    lines += [
        f"{kind} *{name} = ({kind} *)memory({count}, sizeof *{name});"
        for name, (kind, count) in owned.items()
    ]
    if p.rule.carry:
        lines.append(f"{label}_carry carry = {label}_initial_carry();")
    lines += [
        "int stepped = 0;",
        "memcpy(params, start.data, n * sizeof *params);",
        *calls.prepared,
    ]
    loop = [f"{label}_hyper h = {label}_defaults();"]
    loop += [f'h.{place} = number("{name}", {i}, step);' for place, name, i, _ in numbers(p)]
    if counts:
        loop += ["if (step == 1) {", *indented(calls.initialized), "}"]
    loop += [
        f"const {stored} *grads = (const {stored} *)tensor_at(",
        f'    file, "grad", step, tensor, "", "{DTYPE_NAME[exported.dtype]}", n);',
        "if (grads) {",
        *indented([*_scalars(p), *calls.updated]),
        "}",
        *_compared("param", "", "params", "n", exported.dtype),
    ]
    for name, count in counts.items():
        loop += _compared("state", f".{name.removeprefix('state_')}", name, count, p.compute)
    lines += ["for (int step = 1; step <= steps; step++) {", *indented(loop), "}", *calls.finished]
    lines += [f"{calls.release}({name});" for name in owned]
    body = "\n".join(indented(lines))
    return (
        f"static void check_{label}(\n    const golden_file *file, const char *tensor, golden_tensor "
        f"start, int steps)\n{{\n{body}\n}}\n"
    )


def _host_calls(p: Printer, stored: str, arrays: Lines, tensor_sizes: Lines) -> Calls:
    """Return the calls of exported C."""
    label, workspace = p.rule.label, {}
    if p.layout.reducing:
        count = f"(size_t){label}_workspace({', '.join(tensor_sizes)})"
        workspace = {"workspace": (p.target.real, count)}
    initialized = [f"{label}_init({', '.join(['&h', *tensor_sizes, *arrays])});"]
    arguments = ["&s", *tensor_sizes, "params", "grads", *arrays, *workspace]
    updated = [f"{label}_update({', '.join(arguments)});"]
    return Calls("free", workspace, [], initialized, updated, [])


def _device_calls(p: Printer, stored: str, arrays: Lines, tensor_sizes: Lines) -> Calls:
    """Return the calls of exported CUDA: one tensor in a launch of its own."""
    label, done = p.rule.label, "must(cudaDeviceSynchronize());"
    fields = ", ".join(["params", "gradient", *arrays, *tensor_sizes, "0"])
    prepared = [
        f"{label}_tensor there = {{{fields}}};",
        f"{label}_launch launch;",
        f"must({label}_create(&launch, &there, 1, 1, 0));",
    ]
    initialized = [f"must({label}_init(&h, &there, 0));", done]
    copied = "memcpy(gradient, grads, n * sizeof *gradient);"
    updated = [copied, f"must({label}_step(&launch, &s, 0));", done]
    finished = [f"must({label}_destroy(&launch));"]
    return Calls("cudaFree", {"gradient": (stored, "n")}, prepared, initialized, updated, finished)


def _scalars(p: Printer) -> Lines:
    """Return statements that compute and compare a step's scalars."""
    label, count, real = p.rule.label, len(p.program.scalars), p.target.real
    carry = "&carry, " if p.rule.carry else ""
    lines = [f"{label}_scalars s = {label}_compute_scalars(++stepped, {carry}&h);"]
    if count:
        lines += [
            f"{real} row[{count}], expected[{count}];",
            "const double *scalars = (const double *)tensor_at(",
            f'    file, "scalars", step, tensor, "", "F64", {count});',
            "memcpy(row, &s, sizeof row);",
            f"for (int k = 0; scalars && k < {count}; k++) expected[k] = ({real})scalars[k];",
            f'compare("scalars", step, tensor, "", "{DTYPE_NAME[p.compute]}", row,',
            f"        scalars ? expected : NULL, {count});",
        ]
    if p.rule.carry:
        lines += _compared("carry", "", "&carry", str(len(p.rule.carry)), "float64")
    return [*lines, 's.grad_coefficient = number("maximize", 0, step) != 0 ? -1 : 1;']


def _compared(kind: str, suffix: str, ours: str, count: str, dtype: str) -> Lines:
    place = f'"{kind}", step, tensor, "{suffix}", "{DTYPE_NAME[dtype]}"'
    return [f"compare({place}, {ours},", f"        tensor_at(file, {place}, {count}), {count});"]
