"""The built-in rules, one file per family. ``registry`` maps names to rules."""

from ..rule import Rule
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

registry: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        sgd(),
        adam(),
        adamw(),
        rmsprop(),
        adagrad,
        adadelta,
        adamax,
        nadam(),
        radam(),
        rprop,
        asgd,
        lion,
        signsgd,
        signum,
        lamb,
        lars(),
        novograd,
        adafactor(),
        sparseadam,
    )
}
