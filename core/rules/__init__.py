"""The built-in rules, one file per family. ``classes`` maps the names of their optimizer classes to
them, ``registry`` their own names."""

from ..language.names import suggestion
from ..language.rule import Rule
from .adadelta import adadelta
from .adafactor import adafactor
from .adagrad import adagrad
from .adam import adam, adamw
from .adamax import adamax
from .asgd import asgd
from .lamb import lamb
from .lars import lars
from .lion import lion
from .nadam import nadam
from .novograd import novograd
from .radam import radam
from .rmsprop import rmsprop
from .rprop import rprop
from .sgd import sgd
from .signsgd import signsgd, signum
from .sparseadam import sparseadam
from .stableadamw import stableadamw

classes: dict[str, Rule] = {
    "SGD": sgd(),
    "Adam": adam(),
    "AdamW": adamw(),
    "RMSprop": rmsprop(),
    "Adagrad": adagrad(),
    "Adadelta": adadelta(),
    "Adamax": adamax(),
    "NAdam": nadam(),
    "RAdam": radam(),
    "Rprop": rprop(),
    "ASGD": asgd(),
    "Lion": lion,
    "SignSGD": signsgd,
    "Signum": signum,
    "LAMB": lamb,
    "LARS": lars(),
    "NovoGrad": novograd,
    "Adafactor": adafactor(),
    "SparseAdam": sparseadam,
    "StableAdamW": stableadamw,
}
registry: dict[str, Rule] = {rule.name: rule for rule in classes.values()}


def find_rule(rule: Rule | str) -> Rule:
    """Return the built-in rule of that name, or the rule itself. Raises TypeError or ValueError."""
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, str):
        raise TypeError(f"a rule is a samestep.Rule or the name of one, not {rule!r}")
    if rule not in registry:
        hint = suggestion(rule.lower(), registry)
        raise ValueError(f"no rule {rule!r}; {hint}there are {', '.join(registry)}")
    return registry[rule]
