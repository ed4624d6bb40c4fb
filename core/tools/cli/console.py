"""Tables and progress bars: with rich on a terminal, as plain text everywhere else."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1
) -> None:
    """Print a table; the first ``left`` columns are words, the others are numbers."""
    print(title)
    if _rich_on(sys.stdout.isatty()):
        _print_with_rich(columns, rows, left)
    else:
        print("\n".join(plain_table(columns, rows, left)))


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return the lines of a table in characters of equal width."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [columns, rule, *rows]
    ]


def _print_with_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < left else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


@contextlib.contextmanager
def progress(total: int | None = None) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on stderr while the block runs.

    Call the yielded function, with a word about it, after each of ``total`` pieces of work. Without
    a total the bar only shows that there is progress.
    """
    if not _rich_on(sys.stderr.isatty()):
        yield lambda about: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    bar = Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,  # a thread that redraws would disturb what is being timed
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda about: bar.update(task, advance=1, description=about, refresh=True)


def _rich_on(terminal: bool) -> bool:
    return terminal and importlib.util.find_spec("rich") is not None
