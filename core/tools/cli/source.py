"""``samestep show`` and ``samestep export``: rules as source code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...printing.emit import emit
from ...printing.export import text_of_file
from .errors import UserError, check_output, users_mistakes
from .rules import chosen_options, chosen_state_dtype, rule_named


def run_show(
    rule: str,
    target: str,
    dtype: str,
    grad_dtype: str | None,
    state_dtypes: Sequence[str] | None,
    rounding: str | None,
    options: Sequence[str] | None,
) -> int:
    """Print a rule's update as source code."""
    with users_mistakes():
        found = rule_named(rule)
        chosen, codecs = chosen_options(found, options), chosen_state_dtype(state_dtypes)
        source = emit(
            found, target, dtype, grad_dtype, state_dtype=codecs, rounding=rounding, **chosen
        )
    print(source, end="")
    return 0


def run_export(
    rule: str,
    target: str,
    dtype: str,
    grad_dtype: str | None,
    state_dtypes: Sequence[str] | None,
    rounding: str | None,
    options: Sequence[str] | None,
    output: Path | None,
    with_check: bool,
    force: bool,
) -> int:
    """Write a rule as one file to embed in a program without this package.

    Defaults, scalars, update and initial state; a comment on top says how to call and verify them.

    samestep export adamw -o adamw.h

    samestep export lamb --dtype bfloat16 --with-check -o lamb.c
    """
    if str(output) == "-":
        output = None
    check_output("--output", output)
    with users_mistakes():
        found = rule_named(rule)
        chosen, codecs = chosen_options(found, options), chosen_state_dtype(state_dtypes)
        text = text_of_file(
            found, target, dtype, grad_dtype, codecs, rounding, with_check, chosen, typed=rule
        )
    if output is None:
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
