"""What C and CUDA C have in common: syntax, and helper functions written once.

Nothing printed is other than a single IEEE operation; compile C with ``-ffp-contract=off`` and
CUDA with ``--fmad=false -prec-div=true -prec-sqrt=true -ftz=false``.
"""

from __future__ import annotations

import re
import textwrap

import numpy as np

from ..interrupts import held
from ..language.summation import CHUNK, LANES
from .c_names import KEYWORDS
from .expressions import is_whole
from .kernel import KernelPrinter, Lines

C_TYPE = {"float32": "float", "float64": "double", "bfloat16": "uint16_t", "float16": "uint16_t"}
RESERVED = KEYWORDS | {
    "int64_t", "uint16_t", "uint32_t", "size_t", "memcpy", "fabs", "fabsf", "sqrtf", "log", "y0", "y1",
    "j0", "j1", "gamma", "blockIdx", "threadIdx",
}  # fmt: skip

VARIABLE = r"\b(?<!->)(?<!\.)"  # what begins here is no member of a structure

HELPERS = {
    "sign": """
FUNCTION REAL sign(REAL x) { return x > 0 ? 1 : (x < 0 ? -1 : x); }
""",
    "maximum": """
FUNCTION REAL maximum(REAL a, REAL b) { return a != a ? a : (b != b ? b : (a > b ? a : b)); }
""",
    "minimum": """
FUNCTION REAL minimum(REAL a, REAL b) { return a != a ? a : (b != b ? b : (a < b ? a : b)); }
""",
    "ipow": """
/* x to the integer power n >= 0: correctly rounded operations in a fixed order, unlike pow */
FUNCTION double ipow(double x, double n)
{
    double result = 1;
    for (int64_t exponent = (int64_t)n; exponent;) {
        if (exponent & 1) result *= x;
        exponent >>= 1;
        if (exponent) x *= x;
    }
    return result;
}
""",
    "bits_of": """
FUNCTION uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
""",
    "float_of": """
FUNCTION float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
""",
    "from_bfloat16": """
FUNCTION float from_bfloat16(uint16_t h) { return float_of((uint32_t)h << 16); }
""",
    "to_bfloat16": """
FUNCTION uint16_t to_bfloat16(float x)
{
    const uint32_t u = bits_of(x);
    if (x != x) return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}
""",
    "from_float16": """
FUNCTION float from_float16(uint16_t h)
{
    const uint32_t magnitude = (uint32_t)(h & 0x7FFF) << 13;
    const uint32_t u = bits_of(float_of(magnitude) * 5192296858534827628530496329220096.0f);
    const uint32_t infinite = magnitude >= 0x0F800000 ? 0x7F800000 : 0;
    return float_of(u | infinite | (uint32_t)(h & 0x8000) << 16);
}
""",
    "to_float16": """
FUNCTION uint16_t to_float16(float x)
{
    const uint32_t u = bits_of(x), magnitude = u & 0x7FFFFFFF;
    uint32_t half;
    if (magnitude >= 0x47800000) half = magnitude > 0x7F800000 ? 0x7E00 : 0x7C00;
    else if (magnitude < 0x38800000) half = bits_of(float_of(magnitude) + 0.5f) - 0x3F000000;
    else half = (magnitude + 0xC8000FFF + ((magnitude >> 13) & 1)) >> 13;
    return (uint16_t)(half | ((u >> 16) & 0x8000));
}
""",
    "fold": """
/* the sum of that many lanes, a power of two, by halves */
FUNCTION REAL fold(REAL *lanes, int64_t width)
{
    for (width /= 2; width > 0; width /= 2)
        for (int64_t lane = 0; lane < width; lane++) lanes[lane] = lanes[lane] + lanes[lane + width];
    return lanes[0];
}
""",
    "lanes_for": """
/* how many of the lanes a sum of n elements needs: the others stay +0 */
FUNCTION int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}
""",
    "total": """
/* the sum of a vector in the fixed order of a sum over a tensor */
static REAL total(const REAL *values, int64_t n)
{
    REAL lanes[LANES];
    int64_t span = 1;
    while (n > span * CHUNK) span *= CHUNK;
    const int64_t count = (n + span - 1) / span, width = lanes_for(count, LANES);
    for (int64_t lane = 0; lane < width; lane++) lanes[lane] = 0;
    for (int64_t j = 0; j < count; j++) {
        const int64_t part = n - j * span < span ? n - j * span : span;
        const REAL value = span == 1 ? values[j] : total(values + j * span, part);
        lanes[j % LANES] = lanes[j % LANES] + value;
    }
    return fold(lanes, width);
}
""",
    "fold_strips": """
/* add up the lines of strips by halves, into line 0 */
FUNCTION void fold_strips(REAL *strips, int64_t width, int64_t columns)
{
    while (width > 1) {
        const int64_t half = (width + 1) / 2;
        for (int64_t i = 0; i < (width - half) * columns; i++)
            strips[i] = strips[i] + strips[half * columns + i];
        width = half;
    }
}
""",
}

NEEDED_BY = {
    "bits_of": ("to_bfloat16", "from_float16", "to_float16"),
    "float_of": ("from_bfloat16", "from_float16", "to_float16"),
    "fold": ("fold", "total"),
    "lanes_for": ("lanes_for", "total"),
}


class CFamilyPrinter(KernelPrinter):
    """The syntax C and CUDA have in common."""

    reserved = RESERVED
    helpers = HELPERS
    needed_by = NEEDED_BY
    function = "static inline"

    def loop(
        self, variable: str, count: str, body: Lines, *, step: int = 1, spread: bool = False
    ) -> Lines:
        advance = f"{variable} += {step}" if step > 1 else f"{variable}++"
        head = f"for (int64_t {variable} = 0; {variable} < {count}; {advance}) {{"
        return [head, *indented(body), "}"]

    def let(self, name: str, value: str, *, index: bool = False) -> str:
        return f"const int64_t {name} = {value};" if index else f"{self.real} {name} = {value};"

    def assign(self, place: str, value: str) -> str:
        return f"{place} = {value};"

    @property
    def real(self) -> str:
        return C_TYPE[self.compute]

    def constant(self, value: float) -> str:
        if is_whole(value):
            return f"{value:.0f}"
        return self.typed_constant(value)

    def typed_constant(self, value: float) -> str:
        with held(), np.errstate(over="ignore"):
            rounded = float(np.float32(value)) if self.compute == "float32" else value
        suffix = "f" if self.compute == "float32" else ""
        if np.isfinite(rounded):
            return f"{rounded!r}{suffix}"
        zero = f"0.0{suffix}"
        return f"({'0' if rounded != rounded else '1' if rounded > 0 else '-1'} / {zero})"

    def where(self, condition: str, a: str, b: str) -> str:
        return f"{condition} ? {a} : {b}"

    def smaller(self, a: str, b: str) -> str:
        return f"({a} < {b} ? {a} : {b})"

    def as_value(self, count: str) -> str:
        return f"({self.real})({count})"

    def call(self, op: str, args: Lines) -> str:
        suffix = "f" if self.compute == "float32" else ""
        name = {"sqrt": f"sqrt{suffix}", "abs": f"fabs{suffix}"}.get(op, op)
        return f"{name}({', '.join(args)})"

    def vector(self, start: str, count: str) -> str:
        return f"total(workspace + {start}, {count})"

    def fold_strips(self, slot: str) -> str:
        return f"fold_strips(workspace + {slot}, chunks, columns);"

    def helpers_for(self, body: str) -> str:
        """The helper functions that ``body`` calls."""
        return "".join(
            text
            for name, text in self.helpers.items()
            if any(f"{call}(" in body for call in self.needed_by.get(name, (name,)))
        )

    def helper_names(self, body: str) -> Lines:
        """What the helper functions that ``body`` calls are named."""
        head = r"^(?:FUNCTION|static) \w+ (\w+)\("
        return re.findall(head, self.helpers_for(body), re.MULTILINE)

    def with_helpers(self, header: str, body: str) -> str:
        used = self.helpers_for(body)
        used = used.replace("FUNCTION", self.function).replace("REAL", self.real)
        used = used.replace("LANES", str(LANES)).replace("CHUNK", str(CHUNK))
        return f"{header}{used}\n{body}"

    def title(self) -> str:
        reference = self.rule.reference or "A rule of the user's own."
        text = (
            f"{self.rule.label}: update of {self.stored['param']} parameters with "
            f"{self.stored['grad']} gradients.\n\n{textwrap.fill(reference, 94)}\n\n"
            "Printed by samestep from the rule's own text; do not edit."
        )
        return "/* " + text.replace("\n", "\n * ").replace(" * \n", " *\n") + "\n */\n"


def indented(lines: Lines) -> Lines:
    """``lines``, four spaces to the right."""
    return [f"    {line}" for line in lines]


def function(head: str, arguments: Lines, lines: Lines) -> str:
    """A function's text; integers that it does not use are left out, arguments marked."""
    kept = lines
    while True:
        text = "\n".join(kept)
        declared = re.findall(r"const int64_t (\w+) = ", text)
        unused = {name for name in declared if len(re.findall(rf"{VARIABLE}{name}\b", text)) == 1}
        if not unused:
            break
        kept = [x for x in kept if not any(f"const int64_t {name} = " in x for name in unused)]
    names = [argument.split()[-1].lstrip("*") for argument in arguments]
    marks = [f"(void){name};" for name in names if not re.search(rf"{VARIABLE}{name}\b", text)]
    body = "".join(line + "\n" if line[0] == "#" else f"    {line}\n" for line in [*marks, *kept])
    signature = f"{head}({', '.join(arguments) or 'void'})"
    if arguments and len(signature) > 98:
        unbroken = ", ".join(argument.replace(" ", "\0") for argument in arguments)
        wrapped = textwrap.fill(unbroken, 98, initial_indent="    ", subsequent_indent="    ")
        signature = f"{head}(\n{wrapped})".replace("\0", " ")
    return f"{signature}\n{{\n{body}}}\n"
