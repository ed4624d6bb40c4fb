"""One class per built-in rule, with torch's argument names where torch has the optimizer."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from ..language.rule import Rule
from ..rules import classes
from .optimizer import Optimizer

CLASS_NAMES = {rule.name: name for name, rule in classes.items()}


def class_of(rule: Rule, name: str, base: type, module: str, options_by_position: bool) -> type:
    """A subclass of ``base`` for one rule, whose signature lists the rule's hyperparameters.

    ``base`` is constructed with the rule, the parameters and keywords. Its own keywords come
    last; structural options are keywords, too, unless they may be given by position.
    """
    keyword, positional = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = {k: v for k, v in rule.options.items() if k not in rule.defaults}
    of_options = positional if options_by_position else keyword
    of_base = inspect.signature(base.__init__, eval_str=False).parameters.values()
    signature = inspect.Signature(
        [inspect.Parameter("params", positional)]
        + [inspect.Parameter(k, positional, default=v) for k, v in rule.defaults.items()]
        + [inspect.Parameter(k, of_options, default=v) for k, v in options.items()]
        + [inspect.Parameter(k, keyword, default=v) for k, v in rule.common.items()]
        + [p for p in of_base if p.kind is keyword and p.name != "rules"]
    )

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        unknown = {k: v for k, v in kwargs.items() if k not in signature.parameters}
        known = {k: v for k, v in kwargs.items() if k in signature.parameters}
        given = signature.bind(*args, **known).arguments
        base.__init__(self, rule, given.pop("params"), **given, **unknown)  # type: ignore[misc]

    about = inspect.getdoc(sys.modules[rule.scalars.__module__])
    return type(
        name,
        (base,),
        {
            "__init__": __init__,
            "__signature__": signature,
            "__doc__": f"{about}\n\nParameters as of `Optimizer`; hyperparameters:\n{name}{signature}",
            "__module__": module,
            "__slots__": (),
            "_only_rule": rule,
        },
    )


def __getattr__(name: str) -> type:
    """Make the class of a built-in rule when it is asked for: most programs need one."""
    if name not in classes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = class_of(classes[name], name, Optimizer, "samestep", False)
    kept: type = globals().setdefault(name, made)  # of two threads that ask at once, one's
    return kept


__all__ = list(classes)
