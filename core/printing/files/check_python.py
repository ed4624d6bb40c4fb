"""A main program for exported Python: it replays a golden file and compares every bit."""

from __future__ import annotations

import inspect
import re

from ...language.rule import CLIPS
from ..export import Exported
from .golden_reader import differing_elements, read_golden

MAIN = '''

HYPER = {hyper}


def check(path):
    """The exit status: 0 if all bits are those of the file, 1 if not, 2 if it is of another rule."""
    fields, arrays = read_golden(path)
    wanted = {{
        "rule": "{rule}",
        "options": {options},
        "dtype": "{dtype}",
    }}
    others = [name for name, value in wanted.items() if fields[name] != value]
    clips = [name for name in {unclipped} if fields["hyperparameters"].get(name)]
    others += clips + ["settings"] * bool(fields.get("settings"))
    if others:
        print(f"{{path}}: not of this rule: {{', '.join(others)}}", file=sys.stderr)
        return 2
    hyper, names = dict(fields["hyperparameters"]), fields["tensors"]
    params = [arrays[f"param.0.{{name}}"].copy() for name in names]
    state = init(params, **{{name: hyper[name] for name in HYPER}})
    compared = differing = 0
    for number in range(1, fields["steps"] + 1):
        hyper |= fields["changes"].get(str(number), {{}})
        given = {{name: hyper[name] for name in HYPER}}
        grads = [arrays.get(f"grad.{{number}}.{{name}}") for name in names]
        found = {{}}
        for name, param, grad, entry in zip(names, params, grads, state, strict=True):
            if grad is not None:
                row, _ = scalars_of(rule_for(param), entry, namespace(**given), 1.0)
                found[f"scalars.{{number}}.{{name}}"] = list(row.values())[:-1]
        step(params, grads, state, **given, grad_coefficient=-1.0 if hyper["maximize"] else 1.0)
        for name, param, entry in zip(names, params, state, strict=True):
            found[f"param.{{number}}.{{name}}"] = param
            for key, array in entry.items():
                found[f"state.{{number}}.{{name}}.{{key}}"] = array
            if carry := [entry[key] for key in rule_for(param).carry]:
                found[f"carry.{{number}}.{{name}}"] = carry
        for key, ours in found.items():
            if key in arrays:
                expected = arrays[key]
                if key.startswith("scalars"):  # in the file before they are rounded
                    with np.errstate(over="ignore"):
                        expected = expected.astype(COMPUTE)
                as_bits = PARAMS[0] == "bfloat16" and key.startswith("param")
                count = differing_elements(ours, expected, as_bits)
                compared, differing = compared + expected.size, differing + count
                if count:
                    print(f"{{key}}: {{count}} of {{expected.size}} differ")
    print(f"{{compared}} values, {{differing}} differ")
    return int(bool(differing) or not compared)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {{sys.argv[0]}} FILE.safetensors")
    sys.exit(check(sys.argv[1]))
'''


def check_program(exported: Exported) -> str:
    """What stands behind an exported module so that it becomes a program; it needs ``sys`` and
    ``json``."""
    family, rule = exported.family, exported.programs[0].rule
    main = MAIN.format(
        rule=family.name,
        options=_quoted(dict(family.options)),
        dtype=exported.dtype,
        unclipped=_quoted(tuple(c for c in CLIPS if c not in rule.defaults)),
        hyper=_quoted(tuple(rule.defaults)),
    )
    reader = "\n\n".join(
        re.sub(r": Any|: bool(?= = )| -> .*(?=:\n)", "", inspect.getsource(each))
        for each in (read_golden, differing_elements)
    )
    reader = reader.replace("bfloat16 = False", "bfloat16=False")
    return f"# ---- the check\n\n\n{reader}{main}"


def _quoted(value: object) -> str:
    """Its text with double quotes."""
    return repr(value).replace("'", '"')
