"""A C file to embed: a rule's functions, what they start from, and how to call them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from ..c import API, END, CPrinter
from ..c_family import C_TYPE, function
from ..c_names import field
from ..export import Exported
from ..kernel import Lines
from .words import comment

OF_16_BITS = {
    "bfloat16": "bfloat16 is the upper half of a float, as uint16_t",
    "float16": "float16 is IEEE binary16, as uint16_t",
}


class ExportedC(CPrinter):
    """One variant of a rule, with its defaults and its initial state."""

    def beginning(self) -> Lines:
        parts = [self._defaults()]
        if self.rule.carry:
            parts.append(self._initial_carry())
        if self.states:
            parts.append(self._init())
        return parts

    @property
    def states(self) -> tuple[str, ...]:
        """The rule's state arrays in the order of arguments."""
        return tuple(a for a in self.program.arrays if a in self.rule.state) + self.program.small

    def counts(self, name: str) -> str:
        """How many numbers a state array has."""
        full = " * ".join(self._sizes())
        return {"row": "size", "column": "columns", "tensor": "1"}.get(
            self.rule.per.get(name, ""), full
        )

    def _defaults(self) -> str:
        lines = [f"{self.rule.label}_hyper h;"]
        for name, value in self.rule.defaults.items():
            for i, number in enumerate(value if isinstance(value, tuple) else [value]):
                place = f"h.{field(name)}" + f"[{i}]" * isinstance(value, tuple)
                lines.append(f"{place} = {float(number)!r};")
        if not self.rule.defaults:
            lines.append("h.none = 0;")
        head = f"{API} {self.rule.label}_hyper {self.rule.label}_defaults"
        return function(head, [], [*lines, "return h;"])

    def _initial_carry(self) -> str:
        lines = [
            f"carry.{field(name)} = {float(value)!r};" for name, value in self.rule.carry.items()
        ]
        head = f"{API} {self.rule.label}_carry {self.rule.label}_initial_carry"
        return function(head, [], [f"{self.rule.label}_carry carry;", *lines, "return carry;"])

    def _init(self) -> str:
        lines: Lines = []
        for count in dict.fromkeys(map(self.counts, self.states)):
            stores = [
                self.assign(f"{self.arrays[name]}[i]", self._initial(name))
                for name in self.states
                if self.counts(name) == count
            ]
            lines += self.loop("i", count, stores)
        arguments = [f"const {self.rule.label}_hyper *h", *self._sizes("int64_t ")]
        arguments += self._array_parameters(self.states)
        about = "/* The state of one tensor before its first step. */\n"
        return about + function(f"{API} void {self.rule.label}_init", arguments, lines)

    def _initial(self, name: str) -> str:
        value = self.rule.initial.get(name, 0.0)
        return f"({self.real})h->{field(value)}" if isinstance(value, str) else self.constant(value)

    # ---- how to call it

    def usage(self) -> Lines:
        """What a program does with one tensor, as lines of C."""
        label, sizes = self.rule.label, ", ".join(self._sizes())
        states = "".join(f", {self.arrays[name]}" for name in self.states)
        carry = "&carry, " if self.rule.carry else ""
        workspace = ", workspace" if self.layout.reducing else ""
        arrays = f"{self.arrays['param']}, {self.arrays['grad']}{states}{workspace}"
        lines = [f"{label}_hyper hyper = {label}_defaults();"]
        if self.rule.carry:
            lines.append(f"{label}_carry carry = {label}_initial_carry();")
        if self.states:
            lines.append(f"{label}_init(&hyper, {sizes}{states});")
        return [
            *lines,
            "for (int step = 1; step <= steps; step++) {",
            f"    {label}_scalars s = {label}_compute_scalars(step, {carry}&hyper);",
            *textwrap.wrap(
                f"    {label}_update(&s, {sizes}, {arrays});", 88, subsequent_indent=" " * 12
            ),
            "}",
        ]

    def memory(self) -> str:
        """What the arguments are, and how large."""
        full = " * ".join(self._sizes())
        param, grad = (self.stored[name] for name in ("param", "grad"))
        kinds = dict.fromkeys(OF_16_BITS[d] for d in (param, grad) if d in OF_16_BITS)
        if param == grad:
            text = (
                f"{self.arrays['param']} and {self.arrays['grad']} have {full} elements of {param}"
            )
        else:
            text = (
                f"{self.arrays['param']} has {full} elements of {param}, {self.arrays['grad']} "
                f"as many of {grad}"
            )
        text += "".join(f" ({kind})" for kind in kinds) + "."
        if self.states:
            each = [
                f"{self.arrays[name]} has {self.counts(name)}, initially {self._start(name)}"
                for name in self.states
            ]
            text += f" State, of {C_TYPE[self.compute]}: " + "; ".join(each) + "."
        if self.layout.reducing:
            text += (
                f" The workspace has {self.rule.label}_workspace({', '.join(self._sizes())}) numbers"
                f" of {C_TYPE[self.compute]}, whatever is in them; one as large as the largest"
                " tensor needs serves all."
            )
        return text

    def _start(self, name: str) -> str:
        value = self.rule.initial.get(name, 0.0)
        return f"the hyperparameter {value}" if isinstance(value, str) else f"{value:g}"

    def passes(self) -> str:
        """What a reducing update does, in order."""
        done = []
        for kind, k in self.program.launches:
            step = (self.program.passes if kind == "pass" else self.program.folds)[k]
            if kind == "pass":
                written = [self.arrays[name] for name, _ in step.stores]
                what = f"reads {', '.join(self.arrays[name] for name in step.loads)}"
                what += f", writes {', '.join(written)}" if written else ""
                done.append(f"pass{k} {what}{', adds up' if step.sums else ''}")
            else:
                written = [self.arrays[name] for name, _ in step.stores]
                what = f"writes {', '.join(written)}" if written else "finishes sums"
                done.append(f"fold{k} {what}")
        unit = "64 rows" if self.layout.matrix else "65,536 elements"
        return (
            f"{self.rule.label}_update is passes over chunks of {unit}, and folds between them: "
            f"{'; '.join(done)}. Sums have a fixed order, whatever the number of threads."
        )


def text(exported: Exported) -> str:
    """The text of the file."""
    printers = [ExportedC(p, exported.dtype, exported.grad_dtype) for p in exported.programs]
    first = printers[0]
    label = first.rule.label
    body = "\n".join(printer.functions() for printer in printers)
    guard = f"SAMESTEP_{label.upper()}_H"
    opened = f"#ifndef {guard}\n#define {guard}\n\n{first.preamble()}"
    code = first.with_helpers(opened, body) + END.rstrip("\n") + f"\n#endif /* {guard} */\n"
    code = with_names_of_its_own(code, first.helper_names(body), label)
    check = f"\n{exported.check}" if exported.check else ""
    return comment(_about(printers, exported)) + code + check


def with_names_of_its_own(code: str, helpers: Sequence[str], label: str) -> str:
    """Helpers called after the rule, so that a program can include several files."""
    for name in helpers:
        code = re.sub(rf"\b{name}\(", f"{label}_{name}(", code)
    return code


def _about(printers: Sequence[ExportedC], exported: Exported) -> Lines:
    first = printers[0]
    label, dtype = first.rule.label, first.stored["param"]
    program = "\n".join(f"    {line}" for line in first.usage())
    about = [
        f"{label}: updates {dtype} parameters with {first.stored['grad']} gradients, in C99; C++ "
        "takes it, too.",
        first.rule.reference or "A rule of the user's own.",
        f"Include it where it is used:\n\n{program}",
        first.memory(),
    ]
    if first.layout.matrix:
        about.append(
            "A tensor is seen as a matrix in C order: size rows, its first axis, by columns, all "
            "others together."
        )
    for other in printers[1:]:
        rest = "\n".join(f"    {line}" for line in other.usage())
        about.append(f"Tensors of fewer than two axes:\n\n{rest}")
        about.append(other.memory())
    about += [printer.passes() for printer in printers if printer.layout.reducing]
    about.append(
        "Hyperparameters may change at any step. s.grad_coefficient multiplies each gradient as it "
        "is read: 1, or -1 to maximize, 1 / scale of a scaled loss, what a global norm is clipped by. "
        "A tensor that sits out some steps counts its own"
        + (" and has a carry of its own." if first.rule.carry else ".")
    )
    about.append(
        "Needs nothing but the C library (-lm). With -fopenmp it runs on all threads; no bit "
        "depends on how many. Nor on optimization, but do not give clang -ffp-contract=fast, which "
        "overrides what stands here. Functions are static inline; -DSAMESTEP_API= makes them external."
    )
    build = f"cc -std=c99 -O2 {label}.c -o check -lm && ./check {exported.golden_file}"
    if exported.check:
        about.append(
            "As it is, this is a program that replays a golden file (golden/README.md of samestep) "
            f"and compares every bit; status 1 means a difference:\n\n    {build}"
        )
    else:
        about.append(
            "To verify it on your machine, write it with a main program that replays a golden "
            f"file:\n\n    {exported.command} --with-check -o {label}.c"
        )
    about.append(f"Printed by samestep {exported.version} from the rule's own text; do not edit.")
    return about
