"""Text and numbers that the author of a rule wrote, as parts of printed source that they cannot
leave: literals, docstrings, comments."""

from __future__ import annotations

import math


def literal(value: object) -> str:
    """Return a number, a text, None, or a tuple or dict of these as Python source. Raise ValueError
    for anything else."""
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, int):  # an enum has a repr of its own
        return int.__repr__(value)
    if isinstance(value, float):
        text = float.__repr__(value)
        return text if math.isfinite(value) else f'float("{text}")'
    if isinstance(value, str):
        escaped = value.encode("unicode_escape").decode("ascii").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, tuple):
        items = ", ".join(map(literal, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, dict):
        items = ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items())
        return f"{{{items}}}"
    raise ValueError(f"a {type(value).__name__} cannot be exported")


def in_docstring(text: str) -> str:
    """Return text as it stands between two lines of three quotes in Python source."""
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def in_comment(text: str) -> str:
    """Return text as it stands in a C comment. Three characters that end in /, a trigraph, are
    warned of."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("??/", "?? /")
