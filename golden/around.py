"""Cases of what happens to gradients before a rule sees them, clipping, skipping, loss scaling,
accumulation; of states that are stored in fewer bits; of stochastic rounding; and of parts around a
rule."""

from __future__ import annotations

from typing import Any

from .cases import (
    ADAFACTOR,
    ADAFACTOR_LATER,
    ADAM,
    ADAM_LATER,
    CHANGES_FROM,
    MOMENTUM,
    Case,
    tile_cases,
    variants,
)
from .cases import ROWS as OF_RULES
from .cases import cases as plain_cases
from .composed import composed_cases
from .floats import FORMATS

# cases of states that codecs store, all of parameters of float32: suffix to the label of the
# variant and the codecs
STORED: dict[str, tuple[str, Any]] = {
    "states_bfloat16": ("adamw", "bfloat16"),
    "states_float16": ("sgd_momentum", "float16"),
    "states_mixed": ("adafactor_beta1", {"exp_avg": "bfloat16", "exp_avg_sq": "float16"}),
    "states_8_bits": ("adamw", {"exp_avg": "int8", "exp_avg_sq": "uint8"}),
    "states_int8": ("lamb", "int8"),
    "states_of_matrices": ("adafactor_beta1", "int8"),
    "states_4_bits": ("adamw", {"exp_avg": "int4", "exp_avg_sq": "uint4"}),
    "states_int4": ("lamb", "int4"),
    "states_4_bits_of_matrices": ("came", "int4"),
    "states_dynamic8": ("adamw", {"exp_avg": "dynamic8", "exp_avg_sq": "udynamic8"}),
}
EMA = dict(average="ema", average_decay=0.75)
LAST = dict(average=3, average_start=1, average_every=2)
# cases of parts that keywords put around a rule: the label of the variant inside, their
# hyperparameters, what changes from step 6 on, and the dtypes
PARTS: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    ("adamw", dict(master="float32"), {}, ("bfloat16", "float16")),
    ("lamb", dict(master="float32"), {}, ("bfloat16",)),
    ("adamw", dict(master="split"), {}, ("bfloat16",)),
    ("lamb", dict(master="split"), {}, ("bfloat16",)),
    ("adamw", dict(compensated=True), {}, ("bfloat16", "float16")),
    ("lamb", dict(compensated=True), {}, ("float16",)),
    ("adamw", EMA, dict(average_decay=0.5), ("float32", "float64", "bfloat16")),
    ("sgd_momentum", dict(average="mean", average_start=2), {}, ("float32",)),
    ("lamb", dict(EMA, master="float32"), {}, ("bfloat16",)),
    ("adamw", LAST, dict(average_every=1), ("float32", "bfloat16")),
]
# cases that are rounded by random bits: suffix to the label of the variant, the dtype of
# parameters, and hyperparameters
ROUNDED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "stochastic": ("adamw", "bfloat16", {"seed": 7}),
    "states_stochastic": ("adamw", "bfloat16", {"seed": 2**32 - 3, "state_dtype": "bfloat16"}),
    "rows_stochastic": ("adafactor_beta1", "float16", {"state_dtype": "float16"}),
}
SCALER = dict(scale=4.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2)

# name to the label of the variant, hyperparameters, what changes from step 6 on, and settings of
# the whole optimizer, as `Optimizer` takes them
ROWS: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "clip_value": (
        "sgd_momentum",
        dict(MOMENTUM, clip_value=0.125),
        dict(clip_value=0.0625),
        {},
    ),
    "clip_norm": (
        "adamw_amsgrad",
        dict(ADAM, clip_value=0.375, clip_norm=0.25),
        dict(ADAM_LATER, clip_norm=0.375),
        {},
    ),
    "clip_global_norm": (
        "adamw",
        dict(ADAM, maximize=True),
        ADAM_LATER,
        dict(clip_global_norm=0.75),
    ),
    "accumulation": (
        "adafactor_beta1",
        dict(ADAFACTOR, lr=0.9, d=0.2, beta1=0.9, clip_norm=0.3),
        dict(ADAFACTOR_LATER, beta1=0.7),
        dict(accumulation_steps=2, skip_nonfinite=True),
    ),
    "everything": (
        "lamb",
        dict(ADAM, weight_decay=0.05, clip_value=0.25, clip_norm=0.25),
        dict(ADAM_LATER, weight_decay=0.1),
        dict(clip_global_norm=1.008, loss_scaler=SCALER, accumulation_steps=2),
    ),
}


def around_cases() -> list[Case]:
    """Return the cases in the order of `ROWS` and, for each row, of the dtypes."""
    rules = {rule.label: rule for rule in variants()}
    return [
        Case(rules[label], dtype, hyper, {CHANGES_FROM: later}, settings, name)
        for name, (label, hyper, later, settings) in ROWS.items()
        for dtype in FORMATS
    ]


def stored_cases() -> list[Case]:
    """Return the cases of `STORED`."""
    rules = {rule.label: rule for rule in variants()}
    return [
        Case(
            rules[label],
            "float32",
            dict(OF_RULES[label][0], state_dtype=codecs),
            {CHANGES_FROM: OF_RULES[label][1]},
            suffix=suffix,
        )
        for suffix, (label, codecs) in STORED.items()
    ]


def rounded_cases() -> list[Case]:
    """Return the cases of `ROUNDED`."""
    rules = {rule.label: rule for rule in variants()}
    return [
        Case(
            rules[label],
            dtype,
            dict(OF_RULES[label][0], rounding="stochastic", **hyper),
            {CHANGES_FROM: OF_RULES[label][1]},
            suffix=suffix,
        )
        for suffix, (label, dtype, hyper) in ROUNDED.items()
    ]


def parts_cases() -> list[Case]:
    """Return the cases of `PARTS`."""
    rules = {rule.label: rule for rule in variants()}
    return [
        Case(
            rules[label],
            dtype,
            {**OF_RULES[label][0], **parts},
            {CHANGES_FROM: {**OF_RULES[label][1], **later}},
        )
        for label, parts, later, dtypes in PARTS
        for dtype in dtypes
    ]


def all_cases() -> list[Case]:
    """Return the cases of all golden files."""
    stored = stored_cases() + composed_cases() + rounded_cases() + parts_cases()
    return plain_cases() + tile_cases() + around_cases() + stored
