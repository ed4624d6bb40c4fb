"""Errors that the user can put right: one line on stderr, exit code 2, no traceback.

Every command may raise them; its docstring is the text of its ``--help``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


class UserError(Exception):
    """A mistake in the user's words; the message says how to put it right."""


@contextlib.contextmanager
def users_mistakes() -> Iterator[None]:
    """Turn errors that the library raises in this block about its arguments into UserError."""
    try:
        yield
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(str(error)) from error


def check_folder(option: str, path: Path | None) -> None:
    """Raise UserError if the folder of a file to be written does not exist."""
    if path is not None and not path.parent.is_dir():
        raise UserError(f"{option} {path}: there is no folder {path.parent}")
