"""Errors that the user can put right: one line on stderr, exit code 2, no traceback.

Every command may raise them; its docstring is the text of its ``--help``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


class UserError(Exception):
    """A mistake in the user's words; the message says how to put it right."""


@contextlib.contextmanager
def users_mistakes() -> Iterator[None]:
    """Turn errors that the library raises in this block about its arguments into UserError."""
    try:
        yield
    except OSError as error:  # without the number of the error
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise UserError(said) from error
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(str(error)) from error


def check_output(option: str, path: Path | None) -> None:
    """Raise UserError if a file cannot be written where it is to be."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise UserError(f"{option} {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; expected the name of a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"{option} {path}: cannot be written; choose another file")


def check_picture(option: str, path: Path | None) -> None:
    """As `check_output`, of a picture; the name's ending says its format. Needs matplotlib."""
    check_output(option, path)
    if path is None:
        return
    from matplotlib.backend_bases import FigureCanvasBase

    endings = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in endings:
        raise UserError(
            f"{option} {path}: the ending says the format; expected one of .{', .'.join(endings)}"
        )
