"""Runs of reference implementations that are no dependency of the tests.

``python tests/rules/references.py`` writes `references.json` anew: their parameters after some steps in
float64. It needs PyTorch and the packages that `CASES` names, in the versions that it says.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from samestep.golden.inputs import ORDINARY, gradients, parameters

VALUES = Path(__file__).with_suffix(".json")
VERSIONS = {
    "schedulefree": "1.4.1",
    "optimi": "0.3.3",
    "pytorch_optimizer": "4.1.0",
    "prodigyopt": "1.1.2",
    "dadaptation": "3.2",
}
RUNS = ("first", "second")  # of ten steps each, less those without all gradients
BETAS, EPS, LR = (0.87, 0.97), 1e-3, 0.05
ADAM = dict(lr=LR, betas=BETAS, eps=EPS, weight_decay=0.1)


class Case(NamedTuple):
    """A class of samestep with hyperparameters, and one of a package that does the same."""

    ours: str
    hyper: dict[str, Any]
    theirs: str
    their_hyper: dict[str, Any]


# without epsilon: the authors multiply it by the estimate of the next step
PRODIGY = dict(lr=1.0, betas=BETAS, eps=1e-30, d0=1e-2, d_coef=50.0, weight_decay=0.5)
DADAPT = dict(lr=1.0, betas=BETAS, eps=EPS, d0=1e-2, weight_decay=0.5)
DECOUPLED = dict(weight_decouple=True, foreach=False)
AVERAGE = dict(r=0.5, weight_lr_power=1.5)
CASES = {
    "sgd_schedulefree": Case(
        "SGDScheduleFree",
        dict(lr=LR, momentum=0.8, weight_decay=0.1, warmup_steps=4, **AVERAGE),
        "schedulefree:SGDScheduleFree",
        dict(lr=LR, momentum=0.8, weight_decay=0.1, warmup_steps=4, foreach=False, **AVERAGE),
    ),
    "adamw_schedulefree": Case(
        "AdamWScheduleFree",
        dict(ADAM, warmup_steps=4, **AVERAGE),
        "schedulefree:AdamWScheduleFree",
        dict(ADAM, warmup_steps=4, foreach=False, **AVERAGE),
    ),
    "radam_schedulefree": Case(
        "RAdamScheduleFree",
        dict(ADAM, **AVERAGE),
        "schedulefree:RAdamScheduleFree",
        dict(ADAM, foreach=False, **AVERAGE),
    ),
    "ademamix": Case(
        "AdEMAMix",
        dict(ADAM, betas=(*BETAS, 0.99), alpha=3.0),
        "pytorch_optimizer:AdEMAMix",
        dict(ADAM, betas=(*BETAS, 0.99), alpha=3.0, **DECOUPLED),
    ),
    # not MARSAdamW: that package adds 1e-15 inside the root and epsilon to what is not corrected
    "mars_lion": Case(
        "MARSLion",
        dict(lr=LR, beta1=0.87, weight_decay=0.1, gamma=0.05),
        "pytorch_optimizer:MARS",
        dict(
            lr=LR,
            betas=BETAS,
            weight_decay=0.1,
            gamma=0.05,
            mars_type="lion",
            optimize_1d=True,
            weight_decay_1d=0.1,
            foreach=False,
        ),
    ),
    "adan": Case(
        "Adan",
        dict(ADAM, betas=(0.9, *BETAS)),
        "pytorch_optimizer:Adan",
        dict(ADAM, betas=(0.9, *BETAS), foreach=False),
    ),
    "adabelief": Case("AdaBelief", ADAM, "pytorch_optimizer:AdaBelief", dict(ADAM, **DECOUPLED)),
    "yogi": Case(
        "Yogi",
        dict(ADAM, initial_accumulator_value=1e-3),
        "pytorch_optimizer:Yogi",
        dict(ADAM, initial_accumulator=1e-3, **DECOUPLED),
    ),
    # its step counts from 1, that of the authors' code from 0
    "adopt": Case(
        "ADOPT",
        ADAM,
        "pytorch_optimizer:ADOPT",
        dict(ADAM, clip_lambda=lambda step: (step - 1) ** 0.25, foreach=False),
    ),
    "grams": Case("Grams", ADAM, "pytorch_optimizer:Grams", dict(ADAM, **DECOUPLED)),
    "prodigy": Case("Prodigy", PRODIGY, "prodigyopt:Prodigy", PRODIGY),
    "prodigy_options": Case(
        "Prodigy",
        dict(PRODIGY, lr=0.5, safeguard_warmup=True, use_bias_correction=True, growth_rate=1.1),
        "prodigyopt:Prodigy",
        dict(PRODIGY, lr=0.5, safeguard_warmup=True, use_bias_correction=True, growth_rate=1.1),
    ),
    "dadapt_adam": Case("DAdaptAdam", DADAPT, "dadaptation:DAdaptAdam", DADAPT),
    "dadapt_adam_options": Case(
        "DAdaptAdam",
        dict(DADAPT, use_bias_correction=True, growth_rate=1.1),
        "dadaptation:DAdaptAdam",
        dict(DADAPT, use_bias_correction=True, growth_rate=1.1),
    ),
    "dadapt_adam_decoupled": Case(
        "DAdaptAdam",
        dict(DADAPT, decoupled_weight_decay=True),
        "dadaptation:DAdaptAdam",
        dict(DADAPT, decouple=True),
    ),
    "stableadamw": Case(
        "StableAdamW", ADAM, "optimi:StableAdamW", dict(ADAM, foreach=False, triton=False)
    ),
}


def inputs() -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
    """Return parameters and one set of gradients per step, float64."""
    start = parameters("references", "float64", {})
    steps = [grads for run in RUNS for grads in gradients(f"references {run}", "float64", {})]
    complete = [grads for grads in steps if all(grads[name] is not None for name in ORDINARY)]
    return _ordinary(start), [_ordinary(grads) for grads in complete]


def _ordinary(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: arrays[name].copy() for name in ORDINARY}


def run(case: Case) -> dict[str, list[float]]:
    """Return the parameters of a reference implementation after all steps."""
    import torch

    module, name = case.theirs.split(":")
    start, steps = inputs()
    params = {name: torch.tensor(array, requires_grad=True) for name, array in start.items()}
    optimizer = getattr(importlib.import_module(module), name)(
        [*params.values()], **case.their_hyper
    )
    if has_modes := hasattr(optimizer, "train"):
        optimizer.train()
    for grads in steps:
        for name, param in params.items():
            param.grad = torch.tensor(grads[name])
        optimizer.step()
    if has_modes:
        optimizer.eval()
    return {name: param.detach().reshape(-1).tolist() for name, param in params.items()}


if __name__ == "__main__":
    found = {name: run(case) for name, case in CASES.items()}
    VALUES.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
