"""The common part of C and CUDA C: syntax, and the layout of functions and comments.

Nothing printed is other than a single IEEE operation; compile C with ``-ffp-contract=off`` and
CUDA with ``--fmad=false -prec-div=true -prec-sqrt=true -ftz=false``.
"""

from __future__ import annotations

import textwrap

import numpy as np

from ..interrupts import held
from ..language.blockwise import Blockwise
from .c_names import KEYWORDS
from .expressions import is_whole
from .maps import STORES, map_texts
from .printer import Printer
from .quoting import in_comment
from .target import Lines, Target, indented
from .templates import read

C_TYPE = {
    "float32": "float", "float64": "double", "bfloat16": "uint16_t", "float16": "uint16_t",
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t",
}  # fmt: skip
HALVES = ("upper_half", "lower_half", "from_halves")
BLOCKS = (*STORES, "in_blocks")  # helpers that store blocks
RESERVED = KEYWORDS | {
    "int64_t", "int8_t", "int16_t", "int32_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t", "size_t", "memcpy", "fabs", "fabsf", "sqrtf", "log", "y0", "y1",
    "j0", "j1", "gamma", "blockIdx", "threadIdx",
}  # fmt: skip


class CFamily(Target):
    """The syntax that C and CUDA have in common."""

    reserved = RESERVED
    helpers = map_texts("CONSTANT float @NAME[256] = {", "f", "};") | read("c_helpers.c")
    # fmt: off
    needed_by = {  # noqa: RUF012
        "finite_or_zero": ("finite_or_zero", "cube_root"),
        "bits_of": (
            "to_bfloat16", "from_float16", "to_float16", "round_to_bfloat16", "round_to_float16",
            *HALVES, *BLOCKS,
        ),
        "philox": ("random_of", "fill_random", "random_group", "random_sign"),
        "half_of": ("random_of", "random_group", "random_sign"),
        "random_of": ("random_of", "random_sign"),
        "float_of": (
            "from_bfloat16", "from_float16", "to_float16", "upper_half", "from_halves", *BLOCKS,
        ),
        "scale_of_block": BLOCKS,
        "scale_of_values": STORES,
        "to_root": ("store_block", "to_root"),
        "to_map": ("store_mapped_block", "to_map"),
        "fold": ("fold", "total", "sum_as_row"),
        "lanes_for": ("lanes_for", "total", "sum_as_row"),
        "add_lines": ("add_lines", "sum_as_row"),
    }
    # fmt: on
    const, end, warns_of_unused = "const ", ";", True
    declared = "static inline"  # as what helper functions are
    constant_array = "static const"

    def __init__(self, compute: str) -> None:
        super().__init__(compute)
        self.real = C_TYPE[compute]
        self.suffix = "f" if compute == "float32" else ""

    def loop(self, variable: str, count: str, body: Lines, first: str, step: str) -> Lines:
        advance = f"{variable}++" if step == "1" else f"{variable} += {step}"
        head = f"for (int64_t {variable} = {first}; {variable} < {count}; {advance}) {{"
        return [head, *indented(body), "}"]

    def when(self, condition: str, body: Lines) -> Lines:
        return [f"if ({condition}) {{", *indented(body), "}"]

    def let(self, name: str, value: str, *, index: bool = False) -> str:
        return self.assign(f"const int64_t {name}" if index else f"{self.real} {name}", value)

    def buffer(self, printer: Printer, name: str, size: int) -> Lines:
        return [f"uint16_t {name}[{size}];"]

    def zero_lanes(self, name: str, lanes: int) -> Lines:
        return self.loop("lane", "width", [self.assign(f"{name}[lane]", "0")], *self.threads)

    def room(self, printer: Printer, name: str, count: int) -> Lines:
        return [f"{self.real} {name}[{count}];"]

    def codes(self, printer: Printer, name: str, count: int) -> Lines:
        return [f"int8_t {name}[{count}];"]

    def packed(self, codes: str, start: str) -> Lines:
        return [f"{codes} + {start} / 2"]

    def block_arguments(
        self,
        values: str,
        codes: str,
        scales: str,
        codec: Blockwise,
        code: str,
        part: str,
        room: str | None = None,
    ) -> Lines:
        count, start, scale = "count", "start", f"start / {codec.size}"
        if part:
            count, start = self.smaller(str(codec.size), f"count - {part}"), f"start + {part}"
            values, scale = f"{values} + {part}", f"({start}) / {codec.size}"
        place = f"{codes} + {start}" if room is None else f"{room} + {part}" if part else room
        return [
            values, count, f"(uint8_t *){place}", f"{scales} + {scale}", code, f"{codec.mask:#x}",
        ]  # fmt: skip

    def constant(self, value: float) -> str:
        return f"{value:.0f}" if is_whole(value) else self.typed_constant(value)

    def typed_constant(self, value: float) -> str:
        with held(), np.errstate(over="ignore"):
            rounded = float(np.float32(value)) if self.compute == "float32" else value
        if np.isfinite(rounded):
            return f"{rounded!r}{self.suffix}"
        numerator = "0" if rounded != rounded else "1" if rounded > 0 else "-1"
        return f"({numerator} / 0.0{self.suffix})"

    def where(self, condition: str, a: str, b: str) -> str:
        return f"{condition} ? {a} : {b}"

    def smaller(self, a: str, b: str) -> str:
        return f"({a} < {b} ? {a} : {b})"

    def as_integer(self, value: str) -> str:
        return f"(int64_t){value}"

    def as_value(self, count: str) -> str:
        return f"({self.real})({count})"

    def function(self, op: str) -> str:
        return {"sqrt": f"sqrt{self.suffix}", "abs": f"fabs{self.suffix}"}.get(op, op)

    def part(self, start: str, count: str) -> Lines:
        return [self.behind(start), count]

    def behind(self, start: str) -> str:
        return f"workspace + {start}"

    def lines(self, start: str, count: str, width: str) -> Lines:
        return [self.behind(start), count, width]

    def helper_texts(self, called: set[str]) -> str:
        text = super().helper_texts(called).replace("@", self.prefix)
        text = text.replace("CONSTANT", self.constant_array).replace("SQRT", self.function("sqrt"))
        return text.replace("FUNCTION", self.declared)


def comment(paragraphs: Lines) -> str:
    """Return a C comment. Paragraphs are filled, except for lines that begin with a blank:
    programs."""
    blocks = []
    for paragraph in paragraphs:
        lines: Lines = []
        for line in paragraph.split("\n"):
            lines += [line] if not line or line.startswith(" ") else textwrap.wrap(line, 94)
        blocks.append("\n".join(lines))
    return as_comment("\n\n".join(blocks))


def as_comment(text: str) -> str:
    """Return a C comment of lines as they are."""
    return "/* " + in_comment(text).replace("\n", "\n * ").replace(" * \n", " *\n") + "\n */\n"


def title(printer: Printer) -> str:
    """Return the comment on top of printed functions."""
    stored, reference = printer.stored, printer.rule.reference or "A rule of the user's own."
    return as_comment(
        f"{printer.rule.label}: update of {stored['param']} parameters with {stored['grad']} "
        f"gradients.{printer.codecs}\n\n{textwrap.fill(reference, 94)}\n\n"
        "Printed by samestep from the rule's own text; do not edit."
    )


def function(head: str, arguments: Lines, lines: Lines, used: set[str] | None = None) -> str:
    """Return a function's text; arguments that are not ``used`` are marked, if it is given."""
    names = [argument.split()[-1].lstrip("*") for argument in arguments]
    marks = [f"(void){name};" for name in names if used is not None and name not in used]
    body = "".join(line + "\n" if line[0] == "#" else f"    {line}\n" for line in [*marks, *lines])
    signature = f"{head}({', '.join(arguments) or 'void'})"
    if arguments and len(signature) > 98:
        unbroken = ", ".join(argument.replace(" ", "\0") for argument in arguments)
        wrapped = textwrap.fill(unbroken, 98, initial_indent="    ", subsequent_indent="    ")
        signature = f"{head}(\n{wrapped})".replace("\0", " ")
    return f"{signature}\n{{\n{body}}}\n"
