"""The report as tables, and the reasons for their empty cells."""

from __future__ import annotations

from itertools import groupby

from .report import Report, Row
from .runs import RUNS, STORAGE

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns, rows; the first column is words."""
EMPTY = "-"
SIGNS = tuple(who for who in RUNS if who != STORAGE)  # storage has no say in a sign


def tables(report: Report) -> list[Table]:
    """Return a table for each dtype, and one for the rules that take a sign."""
    made = []
    for dtype in dict.fromkeys(row.dtype for row in report.rows):
        rows: list[list[str]] = []
        of_dtype = [row for row in report.rows if row.dtype == dtype]
        for label, group in groupby(of_dtype, key=lambda row: row.label):
            lines = [_line(row) for row in group]
            rows += [[label if i == 0 else "", *line] for i, line in enumerate(lines)]
        columns = ["rule", "steps", "moved"]
        columns += [column for who in RUNS for column in (f"{who} max", "rms")]
        made.append((f"{dtype}: errors in units in the last place of {dtype}", columns, rows))
    if report.sign_rows:
        rows = [
            [row.label, row.dtype, *(str(row.flipped.get(who, EMPTY)) for who in SIGNS)]
            for row in report.sign_rows
        ]
        title = "Rules that take a sign: elements that went another way in the first step"
        made.append((title, ["rule", "dtype", *SIGNS], rows))
    return made


def _line(row: Row) -> list[str]:
    cells = [f"{row.step:,}", shown(row.moved)]
    for who in RUNS:
        error = row.errors.get(who)
        cells += [EMPTY, EMPTY] if error is None else [shown(error.most), shown(error.rms)]
    return cells


def shown(number: float) -> str:
    """Return a number with three digits or a little more."""
    if number < 99.995:
        return f"{number:.2f}"
    return f"{number:,.0f}" if number < 1e6 else f"{number:.1e}"


def reasons(report: Report) -> list[str]:
    """Return a line for each reason why somebody was not compared."""
    labels = {row.label for row in report.rows} | {row.label for row in report.sign_rows}
    return [
        f"{who}, {'all rules' if labels == {*missing} else ', '.join(missing)}: {why}."
        for (who, why), missing in report.missing.items()
    ]
