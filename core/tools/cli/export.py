"""``samestep export``: a rule as one file for programs that do not have this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...printing.export import export
from .errors import UserError, users_mistakes
from .options import chosen_options
from .own_rule import rule_named


def run(
    rule: str,
    target: str,
    dtype: str,
    grad_dtype: str | None,
    options: Sequence[str],
    output: Path | None,
    with_check: bool,
    force: bool,
) -> int:
    """Write the file, or print it. Raises UserError; a file that is there stays as it is."""
    with users_mistakes():
        found = rule_named(rule)
        chosen = chosen_options(found, options)
        text = export(found, target, dtype, grad_dtype, with_check=with_check, **chosen)
    if output is None or str(output) == "-":
        print(text, end="")
        return 0
    try:
        with output.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{output} exists; --force overwrites it") from None
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from None
    print(f"wrote {output}; the comment on top says how to use it")
    return 0
