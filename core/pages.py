"""The pages of the documentation that messages send their readers to."""

from __future__ import annotations

BASE = "docs/"  # in the repository; the address of the site, once it has one


def see(page: str) -> str:
    """Return the end of a message: where to read on. ``page`` is a file in ``docs/``, maybe with
    the anchor of a heading."""
    return f"; see {BASE}{page}"
