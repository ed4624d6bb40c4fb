"""The list of cases: every variant of every built-in rule, in every dtype of parameters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..language.hyperparameters import is_count
from ..language.rule import Rule
from ..parts.by_keyword import variant_of
from ..rules import registry
from .floats import FORMATS
from .inputs import Shapes

CHANGES_FROM = 6  # the first step of the changed hyperparameters
# options that change only what a library multiplies, and in which dtype: what they give is compared
# with formulas, and not every backend has them
OF_PRODUCTS = {"ns_coefficients", "ns_dtype"}


@dataclass(frozen=True)
class Case:
    """One golden file: a rule with its hyperparameters and the dtype of the parameters.

    ``changes`` maps a step to the hyperparameters that are different from then on; ``settings``
    are those of the whole optimizer, and ``suffix`` tells a case with any from that of the rule.
    """

    rule: Rule
    dtype: str
    hyper: Mapping[str, Any]
    changes: Mapping[int, Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""

    def __post_init__(self) -> None:
        if self.dtype not in FORMATS:
            raise ValueError(f"dtype={self.dtype!r}: expected one of {', '.join(FORMATS)}")

    @property
    def variant(self) -> Rule:
        """The rule with the structural options, parts and codecs that the hyperparameters ask
        for."""
        return variant_of(self.rule, self.rule.hyperparameters(self.hyper))

    @property
    def label(self) -> str:
        """The variant's label, with the suffix."""
        return "_".join(filter(None, (self.variant.label, self.suffix)))

    @property
    def name(self) -> str:
        """``<label>.<dtype>``: the file's name without its extension."""
        return f"{self.label}.{self.dtype}"

    @property
    def larger(self) -> Shapes:
        """The shapes of the tensors that it has besides those of every case."""
        return LARGER.get(self.name, {})

    @property
    def keys(self) -> set[str]:
        """The names that select it, see `samestep.golden.format.chosen`."""
        return {self.rule.name, self.label, self.name}


ADAM = dict(lr=0.02, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.02)
ADAM_LATER = dict(lr=0.005, betas=(0.8, 0.95))
NADAM = dict(ADAM, momentum_decay=0.04)
NADAM_LATER = dict(ADAM_LATER, momentum_decay=0.03)
SGD = dict(lr=0.1, weight_decay=0.03)
MOMENTUM = dict(lr=0.06, momentum=0.9, weight_decay=0.03)
RMSPROP = dict(lr=0.02, alpha=0.9, eps=1e-5, weight_decay=0.02)
RMSPROP_LATER = dict(lr=0.007, alpha=0.97, weight_decay=0.05)
RMSPROP_MOMENTUM = dict(RMSPROP, lr=0.01, momentum=0.8)
RMSPROP_MOMENTUM_LATER = dict(RMSPROP_LATER, momentum=0.6)
LARS = dict(lr=0.7, momentum=0.9, weight_decay=0.05, trust_coefficient=0.02, eps=1e-2)
LARS_LATER = dict(lr=0.5, momentum=0.7, trust_coefficient=0.03)
# the learning rate bounds the relative step until step 5; the least scale is that of "special"
ADAFACTOR = dict(lr=0.48, beta2_decay=-0.7, eps=(1e-4, 1.0), d=0.1, weight_decay=0.05)
ADAFACTOR_LATER = dict(lr=0.03, d=0.8, beta2_decay=-0.9)
ADOPT = dict(lr=0.02, betas=(0.9, 0.97), eps=0.05, weight_decay=0.02, clip_exponent=0.25)
ADOPT_LATER = dict(lr=0.005, betas=(0.8, 0.95), clip_exponent=0.2)
# steps are projected by rows, as a whole, or not; a larger delta would change one of them
SGDP = dict(
    lr=0.06, momentum=0.9, dampening=0.2, eps=1e-4, weight_decay=0.02, delta=1.647, wd_ratio=0.3
)
SGDP_LATER = dict(lr=0.03, momentum=0.8, delta=0.5, nesterov=True)
ADAMP = dict(lr=0.02, betas=(0.9, 0.99), eps=1e-4, weight_decay=0.3, delta=1.535, wd_ratio=0.3)
ADAMP_LATER = dict(lr=0.01, betas=(0.8, 0.95), delta=0.5, nesterov=True)
CAME = dict(
    lr=0.02, betas=(0.9, 0.97, 0.8), eps=(1e-4, 1e-3), clip_threshold=0.5, weight_decay=0.05
)
CAME_LATER = dict(lr=0.01, betas=(0.8, 0.9, 0.7), clip_threshold=0.8)
APOLLO = dict(
    lr=0.05,
    betas=(0.9, 0.97),
    eps=1e-2,
    weight_decay=0.1,
    scale=9.0,
    update_proj_gap=3.0,
    projection_seed=7.0,
)
APOLLO_LATER = dict(lr=0.03, betas=(0.8, 0.95), update_proj_gap=2.0, norm_growth=1.2)
PRODIGY = dict(betas=(0.9, 0.97), eps=1e-4, weight_decay=0.8, d0=0.015, d_coef=4.0)
DADAPT = dict(betas=(0.9, 0.97), eps=1e-2, weight_decay=0.3, d0=0.01, lr=0.8)
DADAPT_LATER = dict(lr=0.5, betas=(0.8, 0.95), growth_rate=1.05, use_bias_correction=True)
MUON = dict(lr=0.05, momentum=0.9, weight_decay=0.1, ns_steps=3.0, eps=0.5)
SM3 = dict(lr=0.05, momentum=0.9, beta2=0.97, eps=1e-3)
SM3_LATER = dict(lr=0.1, beta2=1.0)
SHAMPOO = dict(
    lr=0.05,
    betas=(0.9, 0.97),
    eps=0.5,
    weight_decay=0.1,
    precondition_frequency=2.0,
    start_preconditioning_step=2.0,
)
SHAMPOO_LATER = dict(lr=0.02, betas=(0.8, 1.0), precondition_frequency=1.0, exponent=0.4)
SOAP = dict(
    lr=0.05,
    betas=(0.9, 0.97),
    eps=0.05,
    weight_decay=0.1,
    precondition_frequency=2.0,
    shampoo_beta=0.95,
)
SOAP_LATER = dict(lr=0.02, betas=(0.8, 0.9), precondition_frequency=1.0, shampoo_beta=0.85)
PSGD_KRON = dict(
    lr=0.05,
    momentum=0.9,
    weight_decay=0.1,
    preconditioner_lr=0.5,
    precondition_frequency=2.0,
    damping=1e-3,
    clip_rms=0.9,
)
PSGD_KRON_LATER = dict(
    lr=0.02, momentum=0.8, preconditioner_lr=0.3, precondition_frequency=1.0, clip_rms=1.5
)
DION = dict(lr=0.05, mu=0.9, eps=1e-4, weight_decay=0.1, basis_seed=5.0)
GALORE = dict(
    lr=0.05, betas=(0.9, 0.97), eps=0.05, weight_decay=0.1, update_proj_gap=4.0, scale=0.5
)
GALORE_LATER = dict(lr=0.02, betas=(0.8, 0.9), update_proj_gap=2.0, scale=0.75)
NORMUON = dict(MUON, beta2=0.8, eps=(0.5, 0.01))
SCION = dict(lr=0.02, scale=1.5, weight_decay=0.6, alpha=0.3)
SCION_LATER = dict(lr=0.005, scale=2.0, alpha=0.5)

# Label of a variant to its hyperparameters and what changes from step 6 on. The label says which
# structural options are on; one that is also a number, such as momentum, has its value here.
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sgd": (SGD, dict(lr=0.04, weight_decay=0.06)),
    "sgd_momentum": (
        dict(MOMENTUM, dampening=0.2, maximize=True),
        dict(lr=0.04, momentum=0.7),
    ),
    "sgd_momentum_nesterov": (MOMENTUM, dict(momentum=0.8, dampening=0.1)),
    "adam": (ADAM, ADAM_LATER),
    "adam_amsgrad": (ADAM, ADAM_LATER),
    "adamw": (ADAM, ADAM_LATER),
    "adamw_amsgrad": (dict(ADAM, maximize=True), ADAM_LATER),
    "rmsprop": (RMSPROP, RMSPROP_LATER),
    "rmsprop_momentum": (RMSPROP_MOMENTUM, RMSPROP_MOMENTUM_LATER),
    "rmsprop_centered": (RMSPROP, RMSPROP_LATER),
    "rmsprop_momentum_centered": (RMSPROP_MOMENTUM, RMSPROP_MOMENTUM_LATER),
    "adagrad": (
        dict(lr=0.1, lr_decay=0.1, weight_decay=0.02, initial_accumulator_value=0.1, eps=1e-6),
        dict(lr=0.07, lr_decay=0.3),
    ),
    "adadelta": (
        dict(lr=0.4, rho=0.9, eps=1e-3, weight_decay=0.02),
        dict(lr=0.5, rho=0.8, eps=2e-3),
    ),
    "adamax": (ADAM, ADAM_LATER),
    "nadam": (NADAM, NADAM_LATER),
    "nadam_decoupled_weight_decay": (dict(NADAM, maximize=True), NADAM_LATER),
    "radam": (ADAM, ADAM_LATER),
    "radam_decoupled_weight_decay": (ADAM, ADAM_LATER),
    "rprop": (
        dict(lr=0.05, etas=(0.4, 1.3), step_sizes=(0.01, 0.08), weight_decay=0.02),
        dict(etas=(0.6, 1.1), step_sizes=(0.02, 0.07)),
    ),
    "asgd": (dict(lr=0.08, lambd=0.01, alpha=0.7, t0=3.0, weight_decay=0.02), dict(lr=0.06)),
    "lion": (dict(lr=0.05, betas=(0.9, 0.97), weight_decay=0.1), dict(lr=0.03, betas=(0.8, 0.95))),
    "signsgd": (dict(lr=0.05, weight_decay=0.1), dict(lr=0.03, weight_decay=0.2)),
    "signum": (dict(lr=0.05, momentum=0.9, weight_decay=0.1), dict(lr=0.03, momentum=0.8)),
    "lamb": (dict(ADAM, weight_decay=0.05), dict(ADAM_LATER, weight_decay=0.1)),
    "lars": (LARS, LARS_LATER),
    "lars_nesterov": (dict(LARS, maximize=True), LARS_LATER),
    "lars_no_momentum": (dict(LARS, momentum=0.0), dict(lr=1.5, trust_coefficient=0.03)),
    "novograd": (
        dict(lr=0.03, betas=(0.9, 0.8), eps=1e-2, weight_decay=0.05),
        dict(lr=0.02, betas=(0.8, 0.9)),
    ),
    "adafactor": (ADAFACTOR, ADAFACTOR_LATER),
    "adafactor_beta1": (dict(ADAFACTOR, d=0.2, beta1=0.9), dict(ADAFACTOR_LATER, beta1=0.7)),
    "adafactor_no_scale_parameter": (dict(ADAFACTOR, relative_step=False), ADAFACTOR_LATER),
    "adafactor_no_scale_parameter_beta1": (
        dict(ADAFACTOR, d=0.2, beta1=0.9, maximize=True),
        dict(ADAFACTOR_LATER, beta1=0.7),
    ),
    "muon": (
        dict(MUON, maximize=True),
        dict(lr=0.02, momentum=0.8, nesterov=False, match_rms_adamw=True, summed_momentum=True),
    ),
    "normuon": (
        dict(NORMUON, maximize=True),
        dict(
            lr=0.02,
            momentum=0.8,
            beta2=0.9,
            nesterov=False,
            match_rms_adamw=True,
            summed_momentum=True,
        ),
    ),
    "scion": (dict(SCION, ns_steps=3.0, eps=0.5), SCION_LATER),
    "scion_sign": (SCION, SCION_LATER),
    "scion_rows": (dict(SCION, eps=0.05), SCION_LATER),
    "scion_columns": (dict(SCION, eps=0.05, maximize=True), SCION_LATER),
    "shampoo": (dict(SHAMPOO, maximize=True), dict(SHAMPOO_LATER, sgd_grafting=True)),
    "shampoo_grafting_beta2": (
        dict(SHAMPOO, grafting_beta2=0.9, grafting_eps=0.01),
        dict(SHAMPOO_LATER, grafting_beta2=0.8, sgd_grafting=True),
    ),
    "sm3": (SM3, dict(SM3_LATER, momentum=0.7)),
    "sm3_no_momentum": (dict(SM3, momentum=0.0, maximize=True), SM3_LATER),
    "soap": (dict(SOAP, maximize=True), SOAP_LATER),
    "psgd_kron": (dict(PSGD_KRON, maximize=True), dict(PSGD_KRON_LATER, update_rms=0.4)),
    "dion": (dict(DION, rank=3.0, maximize=True), dict(lr=0.02, mu=0.8)),
    "galore": (dict(GALORE, rank=3.0, maximize=True), GALORE_LATER),
    "sparseadam": (dict(lr=0.02, betas=(0.9, 0.99), eps=1e-6), ADAM_LATER),
    "ademamix": (
        dict(ADAM, betas=(0.9, 0.99, 0.97), alpha=3.0),
        dict(lr=0.005, betas=(0.8, 0.95, 0.9), alpha=2.0),
    ),
    "mars_adamw": (dict(ADAM, gamma=0.05), dict(ADAM_LATER, gamma=0.03)),
    "mars_lion": (
        dict(lr=0.05, beta1=0.9, weight_decay=0.1, gamma=0.05),
        dict(lr=0.03, beta1=0.8, gamma=0.03),
    ),
    "adan": (
        dict(ADAM, betas=(0.9, 0.95, 0.97), weight_decay=0.5),
        dict(lr=0.005, betas=(0.8, 0.9, 0.95)),
    ),
    "adabelief": (dict(ADAM, eps=1e-4), ADAM_LATER),
    "yogi": (dict(ADAM, eps=1e-3, initial_accumulator_value=1e-4), ADAM_LATER),
    "adopt": (ADOPT, ADOPT_LATER),
    "adopt_decoupled_weight_decay": (dict(ADOPT, maximize=True), ADOPT_LATER),
    "laprop": (ADAM, ADAM_LATER),
    "grams": (ADAM, ADAM_LATER),
    "madgrad": (
        dict(lr=0.02, momentum=0.9, weight_decay=0.02, eps=1e-3),
        dict(lr=0.01, momentum=0.7, weight_decay=0.05),
    ),
    # its parameter is a difference of sums, whose roundings would be large beside it
    "ftrl": (
        dict(lr=2**-4, l1=2**-7, l2=2**-4, beta=2**-6, initial_accumulator_value=2**-16),
        dict(lr=2**-5, l1=2**-6, l2=2**-3),
    ),
    "sgdp": (SGDP, SGDP_LATER),
    "adamp": (ADAMP, ADAMP_LATER),
    "sophia": (
        dict(lr=0.05, betas=(0.9, 0.8), rho=4.0, eps=0.05, weight_decay=0.1, maximize=True),
        dict(lr=0.03, betas=(0.8, 0.7), rho=2.0, eps=0.02),
    ),
    "adam_mini": (ADAM, ADAM_LATER),
    "came": (CAME, CAME_LATER),
    "apollo_mini": (APOLLO, APOLLO_LATER),
    "sgd_schedulefree": (
        dict(lr=0.3, momentum=0.9, weight_decay=0.03, r=0.5, weight_lr_power=1.5, warmup_steps=3.0),
        dict(lr=0.2, weight_decay=0.05, r=0.7),
    ),
    "adamw_schedulefree": (
        dict(ADAM, r=0.5, weight_lr_power=1.5, warmup_steps=3.0),
        dict(lr=0.03, betas=(0.8, 0.95), weight_decay=0.05),
    ),
    "radam_schedulefree": (
        dict(ADAM, r=0.5, weight_lr_power=1.5, silent_sgd_phase=False),
        dict(lr=0.03, betas=(0.8, 0.95), weight_decay=0.05),
    ),
    "prodigy": (
        dict(PRODIGY, lr=0.8, safeguard_warmup=True, maximize=True),
        dict(lr=0.5, growth_rate=0.9, use_bias_correction=True, safeguard_warmup=False),
    ),
    "dadapt_adam": (DADAPT, DADAPT_LATER),
    "dadapt_adam_decoupled_weight_decay": (
        dict(DADAPT, lr=20.0, d0=7e-4, weight_decay=0.5, growth_rate=1.1, maximize=True),
        dict(lr=25.0, betas=(0.8, 0.95), use_bias_correction=True),
    ),
    "stableadamw": (dict(ADAM, betas=(0.9, 0.8), eps=1e-3), dict(lr=0.005, betas=(0.8, 0.7))),
}

# Tensors that go around the lanes of a sum or have several strips of rows. The order of a sum does
# not depend on the dtype, so one file with them is enough.
LARGER: dict[str, Shapes] = {
    "lars_no_momentum.float32": {"long": (2_050,)},
    "adafactor.float32": {"tall": (67, 3), "wide": (1, 515), "kernel": (5, 3, 2)},
    "adafactor_beta1_states_of_matrices.float32": {"tall": (67, 3), "wide": (1, 515)},
    "came_states_4_bits_of_matrices.float32": {"tall": (67, 3)},
    "adafactor_chunks.float16": {"wide": (1, 2_141)},
    "adafactor_beta1_strips.float16": {"tall": (1_033, 1)},
}
# Cases of sums with several parts: suffix to the label of the variant and the dtype. Three chunks
# of a row; 17 strips, whose 1,033 sums along rows are two chunks. The sizes are such that the order
# shows.
TILES = {"chunks": ("adafactor", "float16"), "strips": ("adafactor_beta1", "float16")}


def variants() -> list[Rule]:
    """Return every combination of structural options that a built-in rule accepts, of those that
    have cases; whole numbers as they are by default."""
    found = []
    for rule in registry.values():
        names = [n for n, o in rule.options.items() if n not in OF_PRODUCTS and not is_count(o)]
        values = (rule.choices.get(name, (False, True)) for name in names)
        for chosen in itertools.product(*values):
            try:
                found.append(rule.variant(**dict(zip(names, chosen, strict=True))))
            except ValueError:  # options that exclude each other
                continue
    return found


def cases() -> list[Case]:
    """Return a case for each rule and dtype, in the order of `ROWS` and, for each row, of the
    dtypes."""
    rules = {rule.label: rule for rule in variants()}
    return [_case(rules[label], dtype) for label in ROWS for dtype in FORMATS]


def tile_cases() -> list[Case]:
    """Return the cases of `TILES`."""
    rules = {rule.label: rule for rule in variants()}
    return [_case(rules[label], dtype, suffix) for suffix, (label, dtype) in TILES.items()]


def _case(rule: Rule, dtype: str, suffix: str = "") -> Case:
    hyper, later = ROWS[rule.label]
    return Case(rule, dtype, hyper, {CHANGES_FROM: later}, suffix=suffix)
