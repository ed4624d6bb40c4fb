"""Rules and their structural options as words of the command line."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from ...language.rule import Rule
from ...rules import find_rule


def rule_named(word: str) -> Rule:
    """Return a built-in rule by its name, or your own by ``module:name``.

    Modules are also looked for in the current folder. Raises TypeError or ValueError if there is
    no such rule.
    """
    module, colon, name = word.partition(":")
    if not colon:
        return find_rule(word)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{word}: {error}") from error
    if not isinstance(found, Rule):
        raise TypeError(f"{word} is a {type(found).__name__}; expected a samestep.Rule")
    return found


def own_rules(words: Sequence[str] | None) -> dict[str, Rule]:
    """Return the rules of those words that are ``module:name``, by word."""
    return {word: rule_named(word) for word in words or () if ":" in word}


def chosen_options(rule: Rule, words: Sequence[str] | None) -> dict[str, bool]:
    """Return structural options by name: ``amsgrad`` switches one on, ``no_factored`` one off.

    A word that is no option of the rule is passed on, for the caller to use or to refuse.
    """
    off = {f"no_{name}": name for name in rule.options}
    return {off.get(word, word): word not in off for word in words or ()}
