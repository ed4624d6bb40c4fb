"""The built-in rules, one file per family. ``classes`` maps the names of their optimizer classes to
them, ``registry`` their own names."""

import reprlib

from ..language.names import suggestion
from ..language.rule import Rule
from .adabelief import adabelief
from .adadelta import adadelta
from .adafactor import adafactor
from .adagrad import adagrad
from .adam import adam, adamw
from .adam_mini import adam_mini
from .adamax import adamax
from .adamp import adamp
from .adan import adan
from .ademamix import ademamix
from .adopt import adopt
from .apollo_mini import apollo_mini
from .asgd import asgd
from .came import came
from .dadaptation import dadapt_adam
from .dion import dion
from .ftrl import ftrl
from .galore import galore
from .grams import grams
from .lamb import lamb
from .laprop import laprop
from .lars import lars
from .lion import lion
from .madgrad import madgrad
from .mars import mars_adamw, mars_lion
from .muon import muon
from .nadam import nadam
from .normuon import normuon
from .novograd import novograd
from .prodigy import prodigy
from .psgd_kron import psgd_kron
from .radam import radam
from .rmsprop import rmsprop
from .rprop import rprop
from .schedulefree import adamw_schedulefree, radam_schedulefree, sgd_schedulefree
from .scion import scion, scion_columns, scion_rows, scion_sign
from .sgd import sgd
from .sgdp import sgdp
from .shampoo import shampoo
from .signsgd import signsgd, signum
from .sm3 import sm3
from .soap import soap
from .sophia import sophia
from .sparseadam import sparseadam
from .stableadamw import stableadamw
from .yogi import yogi

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
    "AdEMAMix": ademamix,
    "MARSAdamW": mars_adamw,
    "MARSLion": mars_lion,
    "Adan": adan,
    "AdaBelief": adabelief,
    "Yogi": yogi,
    "ADOPT": adopt(),
    "LaProp": laprop,
    "Grams": grams,
    "MADGRAD": madgrad(),
    "FTRL": ftrl,
    "SGDP": sgdp(),
    "AdamP": adamp(),
    "AdamMini": adam_mini(),
    "CAME": came(),
    "APOLLOMini": apollo_mini(),
    "SGDScheduleFree": sgd_schedulefree,
    "AdamWScheduleFree": adamw_schedulefree,
    "RAdamScheduleFree": radam_schedulefree,
    "Muon": muon(),
    "NorMuon": normuon(),
    "Scion": scion(),
    "ScionSign": scion_sign,
    "ScionRows": scion_rows,
    "ScionColumns": scion_columns,
    "Prodigy": prodigy,
    "DAdaptAdam": dadapt_adam(),
    "Shampoo": shampoo(),
    "SM3": sm3(),
    "SOAP": soap,
    "PSGDKron": psgd_kron,
    "Dion": dion(),
    "GaLore": galore(),
    "Sophia": sophia,
}
registry: dict[str, Rule] = {rule.name: rule for rule in classes.values()}


def find_rule(rule: Rule | str) -> Rule:
    """Return the built-in rule of that name, or the rule itself. Raises TypeError or ValueError."""
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, str):
        hint = "; rules by the names of parameters are given as rules=" * isinstance(rule, dict)
        own = getattr(rule, "_only_rule", None)  # of a class
        hint = f"; did you mean {own.name!r}?" if isinstance(own, Rule) else hint
        raise TypeError(
            f"a rule is a samestep.Rule or the name of one, not {reprlib.repr(rule)}{hint}"
        )
    if rule not in registry:
        hint = suggestion(rule.lower(), [*registry, "Adam(amsgrad=True)", "ss.LBFGS"])
        raise ValueError(f"no rule {rule!r}; {hint}there are {', '.join(registry)}")
    return registry[rule]
