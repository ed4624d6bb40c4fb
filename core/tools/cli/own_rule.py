"""Rules on the command line: built-in ones by name, your own as ``module:name``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from ...language.rule import Rule
from ...rules import find_rule


def rule_named(word: str) -> Rule:
    """The rule; modules are also looked for in the current folder. Raises TypeError or ValueError
    for a rule that there is not."""
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


def own_rules(words: Sequence[str]) -> dict[str, Rule]:
    """Those of the words that are ``module:name``, with their rules."""
    return {word: rule_named(word) for word in words if ":" in word}
