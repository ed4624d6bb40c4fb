"""A ``main`` for exported C or CUDA: it replays a golden file and compares every bit.

The reader is that of ``golden_reader.c``; ``templates/check.c`` has what all checks share. Written
here is what depends on the rule: its hyperparameters, scalars and arrays.
"""

from __future__ import annotations

import json
from pathlib import Path

from ...language.rounding import KEY
from ...language.rule import CLIPS
from ..c import C
from ..c_family import C_TYPE
from ..c_host import array_type, numbers, states
from ..exported import Exported
from ..printer import Printer
from ..target import Lines, indented
from ..templates import Words, filled, read

TEXTS = read("check.c")
READER = Path(__file__).parent / "golden_reader.c"
DTYPE_NAME = {
    "float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16", "int16": "I16",
    "int8": "I8", "uint8": "U8",
}  # fmt: skip
COUNT = {"element": "n", "row": "rows", "column": "columns", "tensor": "1"}


def check_program(exported: Exported) -> str:
    """Return the text behind exported functions that makes them a program."""
    reader, _, _ = READER.read_text(encoding="utf-8").partition("/* ---- the example */")
    memory = "memory of the device" if exported.target == "cuda" else "memory"
    parts = [reader[reader.index("#include") :], TEXTS["fields"], TEXTS[memory], TEXTS["bits"]]
    steps = "\n".join(_steps(exported, printer) for printer in exported.printers(C))
    first = ["int64_t position = 0;"] * exported.family.stochastic
    words: Words = {
        "REQUIREMENTS": _required(exported),
        "FIRST": first,
        "DISPATCH": _dispatch(exported),
    }
    return "".join([*parts, steps, filled(TEXTS["main"], words)])


def _required(exported: Exported) -> Lines:
    """Return statements that refuse a file of another rule, variant, or dtype."""
    family, rule = exported.family, exported.rules[0]
    options = json.dumps(dict(family.options), sort_keys=True, separators=(",", ":"))
    words = {"rule": f'"{family.name}"', "options": options, "dtype": f'"{exported.dtype}"'}
    lines = [f'require("{name}", {json.dumps(value)});' for name, value in words.items()]
    if family.state_dtype is None:
        lines.append('if (strstr(fields, "\\"state_dtype\\":"))')
        lines.append('    fail("its states have codecs, and these functions none", "state_dtype");')
    else:
        codecs = json.dumps(family.state_dtype, sort_keys=True, separators=(",", ":"))
        lines.append(f'require("state_dtype", {json.dumps(codecs)});')
    if family.stochastic:
        lines.append('require("rounding", "\\"stochastic\\"");')
    else:
        lines.append('if (strstr(fields, "\\"rounding\\":"))')
        lines.append('    fail("rounds by random bits, and these functions do not", "rounding");')
    for clip in CLIPS:
        if clip not in rule.defaults:
            hyper = 'strstr(fields, "\\"hyperparameters\\":{")'
            lines.append(f'if (look_up({hyper}, "{clip}", 0, NULL))')
            lines.append(f'    fail("clips, which these functions do not", "{clip}");')
    return lines


def _dispatch(exported: Exported) -> Lines:
    """Return the call of the variant for a tensor's shape."""
    counted = ", position++" * exported.family.stochastic
    calls = [
        f"check_{rule.label}(&file, tensor, start, steps{counted});" for rule in exported.rules
    ]
    if len(calls) == 1:
        return calls
    return ["if (start.axes >= 2)", f"    {calls[0]}", "else", f"    {calls[1]}"]


def _steps(exported: Exported, p: Printer) -> str:
    """Return the function that takes one tensor through all steps of a file."""
    label, stored, real, carry = p.rule.label, C_TYPE[exported.dtype], p.target.real, p.rule.carry
    counts = {name: COUNT[p.rule.per.get(name, "element")] for name in states(p)}
    counts |= {n: f"(n + {b - 1}) / {b}" for n, b in p.layout.block.items() if n in counts}
    memory = {"params": (stored, "n")}
    memory |= {f"state_{name}": (array_type(p, name), n) for name, n in counts.items()}
    sizes = [f"(int64_t){size}" for size in (["rows", "columns"] if p.layout.matrix else ["n"])]
    arrays, place = [f"state_{name}" for name in counts], ["position"] * p.layout.rounds
    if exported.target == "cuda":
        memory["gradient"], release = (stored, "n"), "cudaFree"
        calls = _device_calls(label, arrays, sizes, [*place])
    else:
        if p.layout.reducing:
            memory["workspace"] = (real, f"(size_t){label}_workspace({', '.join(sizes)})")
        release = "free"
        calls = _host_calls(label, arrays, sizes, place, ["workspace"] * p.layout.reducing)
    own = len(p.program.scalars) - len(KEY) * p.rule.stochastic  # of the rule
    scalars = {"REAL": real, "COUNT": str(own), "DTYPE": DTYPE_NAME[p.compute]}
    compared = filled(TEXTS["scalars"], scalars).splitlines() if own else []
    compared += _compared("carry", "", "&carry", str(len(carry)), "float64") if carry else []
    initialized = ["if (step == 1) {", *indented(calls["INITIALIZED"]), "}"] if counts else []
    rows = "const size_t rows = start.rows, columns = rows ? n / rows : 0;"
    words: Words = {
        **calls,
        "LABEL": label,
        "STORED": stored,
        "POSITION": ", int64_t position" * p.rule.stochastic,
        "DTYPE": DTYPE_NAME[exported.dtype],
        "ROWS_AND_COLUMNS": [rows] if p.layout.matrix else [],
        "MEMORY": [
            f"{kind} *{name} = ({kind} *)memory({count}, sizeof *{name});"
            for name, (kind, count) in memory.items()
        ],
        "CARRY": [f"{label}_carry carry = {label}_initial_carry();"] if carry else [],
        "AND_CARRY": "&carry, " if carry else "",
        "HYPER": [f'h.{place} = number("{name}", {i}, step);' for place, name, i, _ in numbers(p)],
        "INITIALIZED": initialized,
        "COMPARED_SCALARS": compared,
        "COMPARED": [
            *_compared("param", "", "params", "n", exported.dtype),
            *(
                line
                for name, count in counts.items()
                for line in _compared("state", f".{name}", f"state_{name}", count, p.dtype_of(name))
            ),
        ],
        "RELEASED": [f"{release}({name});" for name in memory],
    }
    return filled(TEXTS["steps"], words)


def _host_calls(
    label: str, arrays: Lines, sizes: Lines, place: Lines, workspace: Lines
) -> dict[str, Lines]:
    """Return the calls of exported C."""
    arguments = ", ".join(["&s", *place, *sizes, "params", "grads", *arrays, *workspace])
    return {
        "PREPARED": [],
        "INITIALIZED": [f"{label}_init({', '.join(['&h', *sizes, *arrays])});"],
        "UPDATED": [f"{label}_update({arguments});"],
        "FINISHED": [],
    }


def _device_calls(label: str, arrays: Lines, sizes: Lines, place: Lines) -> dict[str, Lines]:
    """Return the calls of exported CUDA: one tensor in a launch of its own."""
    fields, done = (
        ["params", "gradient", *arrays, *sizes, "0", *place],
        "must(cudaDeviceSynchronize());",
    )
    return {
        "PREPARED": [
            f"{label}_tensor there = {{{', '.join(fields)}}};",
            f"{label}_launch launch;",
            f"must({label}_create(&launch, &there, 1, 1, 0));",
        ],
        "INITIALIZED": [f"must({label}_init(&h, &there, 0));", done],
        "UPDATED": [
            "memcpy(gradient, grads, n * sizeof *gradient);",
            f"must({label}_step(&launch, &s, 0));",
            done,
        ],
        "FINISHED": [f"must({label}_destroy(&launch));"],
    }


def _compared(kind: str, suffix: str, ours: str, count: str, dtype: str) -> Lines:
    place = f'"{kind}", step, tensor, "{suffix}", "{DTYPE_NAME[dtype]}"'
    return [f"compare({place}, {ours},", f"        tensor_at(file, {place}, {count}), {count});"]
