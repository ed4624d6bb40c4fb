"""Structural options as words of the command line."""

from __future__ import annotations

from collections.abc import Sequence

from ...language.rule import Rule


def chosen_options(rule: Rule, words: Sequence[str]) -> dict[str, bool]:
    """``amsgrad`` switches an option on, ``no_factored`` one off; what is no option is left to
    whoever gets it."""
    off = {f"no_{name}": name for name in rule.options}
    return {off.get(word, word): word not in off for word in words}
