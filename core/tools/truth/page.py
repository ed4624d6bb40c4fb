"""The truth table as a page of the documentation; its text is in ``page.md``."""

from __future__ import annotations

from pathlib import Path

from ...golden.oracle import DIGITS
from ..cli.console import plain_table
from ..cli.installation import installed_versions
from .problem import GRADIENT_SIZES, PARAMETER_SIZES, SHAPE
from .report import Report
from .table import reasons, tables

TEXT = Path(__file__).with_name("page.md")
SIGNS = """\
Once a rule has taken the sign of something tiny, one rounding can send an element elsewhere, so the
truth of such a rule is its first step, and what is counted is elements, of {elements}.

"""


def page(report: Report) -> str:
    """Return the page in Markdown, with the tables as plain text."""
    versions = installed_versions("torch", "optax", "jax", "mpmath", "numpy")
    rows, columns = SHAPE
    sections = []
    for title, names, lines in tables(report):
        heading, _, about = title.partition(": ")
        signs = SIGNS.format(elements=rows * columns) if heading.startswith("Rules") else ""
        table = "\n".join(plain_table(names, lines))
        about = about[0].upper() + about[1:]
        sections.append(f"## {heading}\n\n{signs}{about}.\n\n```\n{table}\n```\n")
    return TEXT.read_text(encoding="utf-8").format(
        digits=DIGITS,
        rows=rows,
        columns=columns,
        parameter_sizes=PARAMETER_SIZES,
        gradient_sizes=GRADIENT_SIZES,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        tables="\n".join(sections),
        reasons="\n".join(f"- {reason}" for reason in reasons(report)),
    )
