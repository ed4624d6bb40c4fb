"""A C file to embed: a rule's functions, what they start from, and how to call them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from ..c import C, array_arguments, file, placed, typed
from ..c_family import C_TYPE, comment, function
from ..c_host import (
    API,
    count,
    defaults,
    first_blocks,
    initial_carry,
    initial_value,
    needs_hyper,
    sizes,
    states,
)
from ..exported import Exported
from ..printer import Printer
from ..target import Lines
from ..templates import Words, filled
from .about import TEXTS, about, paragraphs

OF_16_BITS = {
    "bfloat16": "bfloat16 is the upper half of a float, as uint16_t",
    "float16": "float16 is IEEE binary16, as uint16_t",
}


def text(exported: Exported) -> str:
    """Return the text of the file."""
    printers = exported.printers(C, f"{exported.label}_")
    code = file(printers, "", _beginning).rstrip()
    return framed(exported, "H", about(exported, "c", _words(printers)), f"{code}\n")


def framed(exported: Exported, suffix: str, top: Lines, code: str) -> str:
    """Return the text of a file that can be included: the paragraphs on its ``top``, its code,
    which is read once, and its main program."""
    guard = f"SAMESTEP_{exported.label.upper()}_{suffix}"
    check = f"\n{exported.check}" if exported.check else ""
    return f"{comment(top)}#ifndef {guard}\n#define {guard}\n\n{code}#endif /* {guard} */\n{check}"


def _beginning(p: Printer) -> Lines:
    """Return functions for what stands before the first step."""
    parts = [defaults(p)]
    parts += [initial_carry(p)] if p.rule.carry else []
    return parts + ([_init(p)] if states(p) else [])


def _init(p: Printer) -> str:
    p.begin()
    lines = first_blocks(p)
    for number in dict.fromkeys(count(p, name) for name in states(p)):
        stores = [
            p.target.assign(f"{p.arrays[name]}[i]", initial_value(p, name))
            for name in states(p)
            if count(p, name) == number
        ]
        lines += p.loop("i", number, stores)
    arguments = [f"const {p.rule.label}_hyper *h", *typed(sizes(p))]
    arguments += array_arguments(p, states(p))
    used = p.used | needs_hyper(p) | {p.arrays[name] for name in states(p)}
    about = "/* The state of one tensor before its first step. */\n"
    return about + function(f"{API} void {p.rule.label}_init", arguments, lines, used)


# ---- how to call it


def words_of_usage(p: Printer) -> Words:
    """Return the words of a program that calls the functions of C or CUDA."""
    label = p.rule.label
    return {
        "LABEL": label,
        "CARRY": [f"{label}_carry carry = {label}_initial_carry();"] if p.rule.carry else [],
        "AND_CARRY": "&carry, " if p.rule.carry else "",
    }


def matrix(p: Printer) -> Lines:
    """Return the sentence about matrices, where parameters are seen as such."""
    return [TEXTS["matrix"].strip()] if p.layout.matrix else []


def in_blocks(p: Printer) -> Lines:
    """Return the sentences about states in blocks: what is in their arrays, and how large those of
    scales are."""
    return [
        f"{p.arrays[state]} has codes of {p.rule.storage[state]}, in blocks of {p.layout.block[scales]} "
        f"neighbours, and {p.arrays[scales]} a scale for each block: {count(p, scales)}."
        for scales, state in p.rule.scales.items()
    ]


def _words(printers: Sequence[Printer]) -> Words:
    first, *others = printers
    passes = [line for p in printers if p.layout.reducing for line in (_passes(p), "")]
    vectors = [
        line for p in others for line in (*_tensors(p, "Tensors of fewer than two axes:"), "")
    ]
    return {
        "TENSORS": _tensors(first, "Include it where it is used:"),
        "MATRIX": matrix(first),
        "BLOCKS": in_blocks(first),
        "VECTORS": vectors,
        "PASSES": passes,
        "CARRY": " and has a carry of its own" if first.rule.carry else "",
    }


def _tensors(p: Printer, where: str) -> Lines:
    """Return what a program does with one tensor, and how large its arrays are."""
    label, of_state = p.rule.label, [p.arrays[name] for name in states(p)]
    init = f"{label}_init({', '.join(['&hyper', *sizes(p), *of_state])});"
    arrays = [p.arrays["param"], p.arrays["grad"], *of_state, *["workspace"] * p.layout.reducing]
    update = f"{label}_update({', '.join(['&s', *placed(p), *arrays])});"
    words: Words = {
        "WHERE": where,
        "INIT": [init] if of_state else [],
        "UPDATE": textwrap.wrap(update, 84, subsequent_indent=" " * 8),
        "MEMORY": _memory(p),
    }
    return filled(TEXTS["c tensors"], {**words_of_usage(p), **words}).splitlines()


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
    if p.layout.rounds:
        text += " " + "".join(paragraphs(TEXTS["position"], {}))
    for dtype in dict.fromkeys(map(p.dtype_of, states(p))):
        of_dtype = [s for s in states(p) if p.dtype_of(s) == dtype]
        each = [f"{p.arrays[s]} has {count(p, s)}, initially {_start(p, s)}" for s in of_dtype]
        kind = real if dtype == p.compute else dtype
        about = f" ({OF_16_BITS[dtype]})" if dtype in OF_16_BITS and dtype not in small else ""
        text += f" State, of {kind}{about}: {'; '.join(each)}."
    if p.layout.reducing:
        words: Words = {"LABEL": p.rule.label, "SIZES": ", ".join(sizes(p)), "REAL": real}
        text += " " + "".join(paragraphs(TEXTS["workspace"], words))
    return text


def _start(p: Printer, name: str) -> str:
    value = p.rule.initial.get(p.rule.scales.get(name, name), 0.0)
    text = f"the hyperparameter {value}" if isinstance(value, str) else f"{value:g}"
    if name in p.rule.scales:
        return f"the scales of {text}"
    return f"the codes of {text}" if name in p.blocks else text


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
    words: Words = {
        "LABEL": p.rule.label,
        "UNIT": "64 rows" if p.layout.matrix else "65,536 elements",
        "DONE": "; ".join(done),
    }
    return "".join(paragraphs(TEXTS["passes"], words))
