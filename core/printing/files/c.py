"""A C file to embed: a rule's functions, what they start from, and how to call them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from ..c import C, array_arguments, file, typed_sizes
from ..c_family import C_TYPE, comment, function
from ..c_host import (
    API,
    count,
    defaults,
    initial_carry,
    initial_value,
    needs_hyper,
    sizes,
    states,
)
from ..exported import Exported
from ..printer import Printer
from ..target import Lines, indented

OF_16_BITS = {
    "bfloat16": "bfloat16 is the upper half of a float, as uint16_t",
    "float16": "float16 is IEEE binary16, as uint16_t",
}
MATRIX = (
    "A tensor is seen as a matrix in C order: size rows, its first axis, by columns, all others "
    "together."
)


def text(exported: Exported) -> str:
    """Return the text of the file."""
    printers = exported.printers(C, f"{exported.label}_")
    guard = f"SAMESTEP_{exported.label.upper()}_H"
    code = file(printers, f"#ifndef {guard}\n#define {guard}\n\n", _beginning)
    check = f"\n{exported.check}" if exported.check else ""
    about = comment(_about(printers, exported))
    return f"{about}{code.rstrip()}\n#endif /* {guard} */\n{check}"


def _beginning(p: Printer) -> Lines:
    """Return functions for what stands before the first step."""
    parts = [defaults(p)]
    parts += [initial_carry(p)] if p.rule.carry else []
    return parts + ([_init(p)] if states(p) else [])


def _init(p: Printer) -> str:
    lines: Lines = []
    p.begin()
    for number in dict.fromkeys(count(p, name) for name in states(p)):
        stores = [
            p.target.assign(f"{p.arrays[name]}[i]", initial_value(p, name))
            for name in states(p)
            if count(p, name) == number
        ]
        lines += p.loop("i", number, stores)
    arguments = [f"const {p.rule.label}_hyper *h", *typed_sizes(p)]
    arguments += array_arguments(p, states(p))
    used = p.used | needs_hyper(p) | {p.arrays[name] for name in states(p)}
    about = "/* The state of one tensor before its first step. */\n"
    return about + function(f"{API} void {p.rule.label}_init", arguments, lines, used)


# ---- how to call it


def beginning_of_usage(p: Printer) -> Lines:
    """Return what a program begins with, as lines of C."""
    label = p.rule.label
    lines = [f"{label}_hyper hyper = {label}_defaults();"]
    return lines + [f"{label}_carry carry = {label}_initial_carry();"] * bool(p.rule.carry)


def scalars_in_usage(p: Printer) -> Lines:
    """Return the beginning of a loop over steps."""
    label, carry = p.rule.label, "&carry, " if p.rule.carry else ""
    return [
        "for (int step = 1; step <= steps; step++) {",
        f"    {label}_scalars s = {label}_compute_scalars(step, {carry}&hyper);",
    ]


def _usage(p: Printer) -> str:
    """Return what a program does with one tensor."""
    label, of_state = p.rule.label, [p.arrays[name] for name in states(p)]
    lines = beginning_of_usage(p)
    if of_state:
        lines.append(f"{label}_init({', '.join(['&hyper', *sizes(p), *of_state])});")
    arrays = [p.arrays["param"], p.arrays["grad"], *of_state]
    arrays += ["workspace"] if p.layout.reducing else []
    update = f"    {label}_update({', '.join(['&s', *sizes(p), *arrays])});"
    lines += [*scalars_in_usage(p), *textwrap.wrap(update, 88, subsequent_indent=" " * 12), "}"]
    return "\n".join(indented(lines))


def _memory(p: Printer) -> str:
    """Return what the arguments are, and how large."""
    full, real = " * ".join(sizes(p)), C_TYPE[p.compute]
    dtypes, (param, grad) = p.stored, (p.arrays["param"], p.arrays["grad"])
    if dtypes["param"] == dtypes["grad"]:
        text = f"{param} and {grad} have {full} elements of {dtypes['param']}"
    else:
        text = (
            f"{param} has {full} elements of {dtypes['param']}, {grad} as many of {dtypes['grad']}"
        )
    small = dict.fromkeys(d for d in (dtypes["param"], dtypes["grad"]) if d in OF_16_BITS)
    text += "".join(f" ({OF_16_BITS[dtype]})" for dtype in small) + "."
    if states(p):
        each = [f"{p.arrays[s]} has {count(p, s)}, initially {_start(p, s)}" for s in states(p)]
        text += f" State, of {real}: {'; '.join(each)}."
    if p.layout.reducing:
        text += (
            f" The workspace has {p.rule.label}_workspace({', '.join(sizes(p))}) numbers of {real}, "
            "whatever is in them; one as large as the largest tensor needs serves all."
        )
    return text


def _start(p: Printer, name: str) -> str:
    value = p.rule.initial.get(name, 0.0)
    return f"the hyperparameter {value}" if isinstance(value, str) else f"{value:g}"


def _passes(p: Printer) -> str:
    """Return what a reducing update does, in order."""
    done = []
    for kind, k in p.program.launches:
        step = (p.program.passes if kind == "pass" else p.program.folds)[k]
        writes = "writes " + ", ".join(p.arrays[name] for name, _ in step.stores)
        if kind == "pass":
            what = [f"reads {', '.join(p.arrays[name] for name in step.loads)}"]
            what += [writes] if step.stores else []
            what += ["adds up"] if step.sums else []
        else:
            what = [writes if step.stores else "finishes sums"]
        done.append(f"{kind}{k} {', '.join(what)}")
    unit = "64 rows" if p.layout.matrix else "65,536 elements"
    return (
        f"{p.rule.label}_update is passes over chunks of {unit}, and folds between them: "
        f"{'; '.join(done)}. Sums have a fixed order, whatever the number of threads."
    )


def _about(printers: Sequence[Printer], exported: Exported) -> Lines:
    first, label = printers[0], exported.label
    about = [
        f"{label}: updates {exported.dtype} parameters with {exported.grad_dtype} gradients, in "
        "C99; C++ takes it, too.",
        exported.reference,
        f"Include it where it is used:\n\n{_usage(first)}",
        _memory(first),
    ]
    about += [MATRIX] if first.layout.matrix else []
    for other in printers[1:]:
        about += [f"Tensors of fewer than two axes:\n\n{_usage(other)}", _memory(other)]
    about += [_passes(printer) for printer in printers if printer.layout.reducing]
    about += [
        "Hyperparameters may change at any step. s.grad_coefficient multiplies each gradient as it "
        "is read: 1, or -1 to maximize, 1 / scale of a scaled loss, what a global norm is clipped by. "
        "A tensor that sits out some steps counts its own"
        + (" and has a carry of its own." if first.rule.carry else "."),
        "Needs nothing but the C library (-lm). With -fopenmp it runs on all threads; no bit "
        "depends on how many. Nor on optimization, but do not give clang -ffp-contract=fast, which "
        "overrides what stands here. Functions are static inline; -DSAMESTEP_API= makes them external.",
    ]
    build = f"cc -std=c99 -O2 {label}.c -o check -lm && ./check {exported.golden_file}"
    return about + verification(exported, "machine", "c", "", [build])


def verification(
    exported: Exported, machine: str, suffix: str, statuses: str, build: Iterable[str]
) -> Lines:
    """Return how to hold a file to a golden file, and who wrote it."""
    program = "\n".join(indented([*build]))
    if exported.check:
        how = (
            "As it is, this is a program that replays a golden file (golden/README.md of samestep) "
            f"and compares every bit; status 1 means a difference{statuses}:\n\n{program}"
        )
    else:
        how = (
            f"To verify it on your {machine}, write it with a main program that replays a golden "
            f"file:\n\n    {exported.command} --with-check -o {exported.label}.{suffix}"
        )
    return [how, f"Printed by samestep {exported.version} from the rule's own text; do not edit."]
