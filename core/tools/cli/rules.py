"""Rules and their structural options as words of the command line."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from ...language.codecs import StateDtype
from ...language.names import suggestion
from ...language.rule import Rule
from ...rules import find_rule
from .errors import UserError


def rule_named(word: str) -> Rule:
    """Return a built-in rule by its name, or your own by ``module:name``.

    Modules are also looked for in the current folder. Raises TypeError or ValueError if there is
    no such rule.
    """
    module, colon, name = word.partition(":")
    if not colon:
        return find_rule(word)
    if module.endswith(".py"):
        raise ValueError(f"{word}: leave out .py: {module.removesuffix('.py')}:{name}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        there = vars(importlib.import_module(module))
    except ImportError as error:
        if getattr(error, "name", None) == module:
            raise ValueError(
                f"{word}: no module {module!r} in {os.getcwd()}, nor among those installed"
            ) from error
        raise ValueError(f"{module}: {error}") from error
    if name not in there:
        rules = [key for key, value in there.items() if isinstance(value, Rule)]
        raise ValueError(
            f"{word}: {module} has no rule {name!r}; {suggestion(name, rules)}"
            f"it has {', '.join(rules) or 'none'}"
        )
    found = there[name]
    if not isinstance(found, Rule):
        raise TypeError(f"{word} is a {type(found).__name__}; expected a samestep.Rule")
    return found


def own_rules(words: Sequence[str] | None) -> dict[str, Rule]:
    """Return the rules of those words that are ``module:name``, by word."""
    return {word: rule_named(word) for word in words or () if ":" in word}


def chosen_options(rule: Rule, words: Sequence[str] | None) -> dict[str, bool | int | str]:
    """Return structural options by name: ``amsgrad`` switches one on, ``no_factored`` one off;
    ``average=ema`` and ``average=5`` have a value.

    A word that is no option of the rule is passed on, for the caller to use or to refuse.
    """
    off = {f"no_{name}": name for name in rule.options}
    given = (word.partition("=") for word in words or ())
    return {
        off.get(name, name): int(value) if value.isdecimal() else value or name not in off
        for name, _, value in given
    }


def chosen_state_dtype(words: Sequence[str] | None) -> StateDtype:
    """Return the ``state_dtype`` that words ask for: ``bfloat16`` for all states, or for some of
    them each ``exp_avg=bfloat16``. Raises UserError where they do not go together."""
    given = [*(words or ())]
    if not given:
        return None
    pairs = [word.partition("=") for word in given]
    if len(given) == 1 and not pairs[0][1]:
        return given[0]
    if not all(equals for _, equals, _ in pairs) or len({name for name, _, _ in pairs}) < len(
        given
    ):
        raise UserError(
            f"--state-dtype {' '.join(given)}: expected one for all states, or NAME=DTYPE for each"
        )
    return {name: codec for name, _, codec in pairs}
