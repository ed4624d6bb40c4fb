"""The truth table as a page of the documentation."""

from __future__ import annotations

from ..cli.console import plain_table
from ..cli.installation import installed_versions
from .problem import GRADIENT_SIZES, PARAMETER_SIZES, SHAPE
from .report import Report
from .table import reasons, tables

INTRODUCTION = """\
# How far from the truth

`samestep truth --write docs/truth.md` writes this page, in some ten minutes; `samestep truth --rule
adamw --dtype bfloat16` prints a part of it. It compares steps with the same steps in {digits}-digit
arithmetic, by formulas that share no code with the rules ([golden/formulas.py](../golden/formulas.py)).

**What is computed.** One parameter of {rows} x {columns} elements between {low:g} and {high:g}, of
either sign, and a gradient for each step, between {least:g} and {most:g}, drawn in advance: a
gradient that depended on the parameters would magnify every difference. The hyperparameters are
those of the golden files ([golden/cases.py](../golden/cases.py)), the same at every step.

**Who.** `samestep` is the NumPy reference; all backends have its bits. `torch` is torch.optim on
the CPU as it comes (the for-loop), `optax` is compiled by jax; both keep state in the parameter's
dtype, as they do by default, where samestep keeps float32 for 16-bit parameters. `storage` is the
step in float64 with the parameter rounded to its dtype after each step: whoever stores the
parameter in this dtype, rounded to nearest, cannot do better on average.

**What the figures are.** Errors in units in the last place (ulp): the largest one and the root
mean square over the elements. One unit is the distance of neighbouring numbers of the parameter's
dtype at the largest magnitude that the element has had so far, since what was rounded then stays.
`moved` is how far the elements are from their start, as the median, in the same units: an error of 10
says little where the parameter has moved by a million units, and much where it has moved by 20.

**How to read it.** After one step the best possible is a rounding to nearest: at most 0.50, and
0.29 on average. After many steps these roundings add up, whoever computes: in 16 bits they are
nearly all of the error, so compare with `storage`, not with zero. In float64 the truth itself is
rounded to float64 here, so figures are certain to half a unit only. A large maximum beside a small
mean can be an element whose gradient nearly cancels against its weight decay: samestep rounds each
operation, where others may contract a multiplication and an addition into one. `inf` is a parameter
that is no longer finite.

torch multiplies by `1 - lr * weight_decay` in an operation of its own where the decay is decoupled
from the gradient, and rounds there, too; without decay its AdamW is as near to the truth as the
others. It keeps scalars of NAdam and ASGD in its default dtype, float32, for float64 parameters, too.

Where there is no figure the formulas differ, or there is nothing to compare; the reasons are at the
end. Another formula is not an error.

Versions: {versions}.
"""
SIGNS = """\
Once a rule has taken the sign of something tiny, one rounding can send an element elsewhere, so the
truth of such a rule is its first step, and what is counted is elements, of {elements}.
"""


def page(report: Report) -> str:
    """Markdown, with the tables as plain text."""
    from ...golden.oracle import DIGITS

    versions = installed_versions("torch", "optax", "jax", "mpmath", "numpy")
    rows, columns = SHAPE
    parts = [
        INTRODUCTION.format(
            digits=DIGITS,
            rows=rows,
            columns=columns,
            low=PARAMETER_SIZES[0],
            high=PARAMETER_SIZES[1],
            least=GRADIENT_SIZES[0],
            most=GRADIENT_SIZES[1],
            versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        )
    ]
    for title, names, lines in tables(report):
        heading, _, about = title.partition(": ")
        parts.append(f"## {heading}\n")
        if heading.startswith("Rules"):
            parts.append(SIGNS.format(elements=rows * columns))
        table = "\n".join(plain_table(names, lines))
        parts.append(f"{about[0].upper()}{about[1:]}.\n\n```\n{table}\n```\n")
    parts.append("## Not compared\n")
    parts += [f"- {reason}" for reason in reasons(report)]
    return "\n".join(parts) + "\n"
