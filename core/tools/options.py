"""Structural options as words of the command line."""

from __future__ import annotations

from collections.abc import Sequence

from ..rule import find_rule


def chosen_options(rule: str, words: Sequence[str]) -> dict[str, bool]:
    """``amsgrad`` switches an option on, ``no_factored`` one off. Raises ValueError for a rule
    that there is not; what is no option is left to whoever gets it."""
    known = find_rule(rule).options
    off = {f"no_{name}": name for name in known}
    return {off.get(word, word): word not in off for word in words}
