"""What the user can put right: one line on stderr, exit code 2, no traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class UserError(Exception):
    """The message says what to do about it."""


@contextlib.contextmanager
def users_mistakes() -> Iterator[None]:
    """What the library raises in this block about its arguments becomes a UserError."""
    try:
        yield
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(str(error)) from error
