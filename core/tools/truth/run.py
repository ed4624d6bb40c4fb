"""``samestep truth``: errors of steps against the exact ones, ours and others'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...golden.cases import cases
from ...golden.floats import FORMATS
from ...golden.format import chosen
from ..cli.console import print_table, progress
from ..cli.errors import UserError, check_output, users_mistakes
from ..cli.installation import need


def run(
    rules: Sequence[str] | None, dtypes: Sequence[str] | None, steps: str, path: Path | None
) -> int:
    """Print errors against 50-digit arithmetic: ours, torch's and optax's side by side.

    In units in the last place of the parameters. All of it takes some ten minutes and needs mpmath,
    in the extra "oracle".
    """
    need("truth", ("mpmath",), "oracle")
    from .page import page
    from .report import report
    from .table import reasons, tables

    numbers = parse_steps(steps)
    for dtype in dtypes or ():
        if dtype not in FORMATS:
            raise UserError(f"--dtype {dtype}: expected one of {', '.join(FORMATS)}")
    check_output("--write", path)
    with users_mistakes():
        selected = [c for c in chosen(cases(), rules) if not dtypes or c.dtype in dtypes]
    with progress(len(selected)) as advance:
        found = report(selected, numbers, advance)
    if path is not None:
        path.write_text(page(found), encoding="utf-8")
        print(f"{len(selected)} cases in {path}")
        return 0
    for title, columns, rows in tables(found):
        print_table(title, columns, rows)
        print()
    print("\n".join(reasons(found)))
    return 0


def parse_steps(text: str) -> list[int]:
    """Return the sorted step numbers in a text such as ``"1,10,100"``. Raises UserError."""
    try:
        numbers = sorted({int(word) for word in text.split(",")})
    except ValueError:
        numbers = [0]
    if numbers[0] < 1:
        raise UserError(f"--steps {text}: expected step numbers from 1, such as 1,10,100")
    return numbers
