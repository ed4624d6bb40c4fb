"""Runs of reference implementations that are no dependency of the tests.

``python tests/rules/references.py`` writes `references.json` anew: their parameters after some
steps in float64. It needs PyTorch and the packages that `CASES` names, in the versions that it
says.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from samestep.golden.formulas.low_rank import random_numbers
from samestep.golden.inputs import ORDINARY, gradients, parameters

VALUES = Path(__file__).with_suffix(".json")
VERSIONS = {
    "schedulefree": "1.4.1",
    "optimi": "0.3.3",
    "pytorch_optimizer": "4.1.0",
    "prodigyopt": "1.1.2",
    # of https://github.com/microsoft/dion
    "dion": "commit 0a059a4542e5aa74b40dcd1dce363836c7afcd48",
    "galore_torch": "1.0",
    # of https://github.com/facebookresearch/optimizers
    "distributed_shampoo": "commit f60660661194de26d3ee78bae6d15820ff8e583d",
    "madgrad": "1.3",
    "adamp": "0.3.0",
    "adam_mini": "1.1.1",
    "came_pytorch": "0.1.3",
    "dadaptation": "3.2",
    "apollo_torch": "1.0.3",
    "torchzero": "0.4.4",  # which has psgd.py of https://github.com/lixilinx/psgd_torch
}
RUNS = ("first", "second")  # of ten steps each, less those without all gradients
BETAS, EPS, LR = (0.87, 0.97), 1e-3, 0.05
ADAM = dict(lr=LR, betas=BETAS, eps=EPS, weight_decay=0.1)


class Case(NamedTuple):
    """A class of samestep with hyperparameters, and one of a package that does the same with its
    own, or with what a function returns where the package is; the names of parameters that both
    take; and at every how many steps both are given estimates of the Hessian, the gradients of the
    step after, 0 for never."""

    ours: str
    hyper: dict[str, Any]
    theirs: str
    their_hyper: dict[str, Any] | Callable[[], dict[str, Any]]
    names: tuple[str, ...] = tuple(ORDINARY)
    square: bool = False  # of a matrix only as many columns as rows
    estimates_every: int = 0

    def of(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what it takes of parameters or gradients."""
        own = {name: arrays[name] for name in self.names}
        return {n: a[:, : len(a)].copy() for n, a in own.items()} if self.square else own


def distributed_shampoo(**hyper: Any) -> Callable[[], dict[str, Any]]:
    """Return what gives hyperparameters in float64, with ``eps`` added to all eigenvalues. It keeps
    some numbers in float32, so those here are powers of two."""

    def found() -> dict[str, Any]:
        import torch
        from distributed_shampoo import AdamPreconditionerConfig as Adam
        from distributed_shampoo import RootInvShampooPreconditionerConfig as RootInv
        from distributed_shampoo import SGDPreconditionerConfig as Sgd
        from distributed_shampoo import SingleDeviceDistributedConfig as Single
        from distributed_shampoo.preconditioner import matrix_functions_types as types

        added = types.PerturbationConfig(perturb_before_computation=False)
        grafting = hyper.pop("grafting", None)
        return dict(
            **hyper,
            grafting_config=Sgd() if grafting == "sgd" else Adam(**grafting) if grafting else None,
            preconditioner_config=RootInv(
                amortized_computation_config=types.EigenConfig(
                    rank_deficient_stability_config=added
                ),
                factor_matrix_dtype=torch.float64,
                inv_factor_matrix_dtype=torch.float64,
            ),
            distributed_config=Single(target_parameter_dimensionality=2),
        )

    return found


def scion(norm: str, **hyper: Any) -> Callable[[], dict[str, Any]]:
    """Return what gives hyperparameters, with the package's Newton-Schulz in float64 instead of
    bfloat16."""

    def found() -> dict[str, Any]:
        import torch
        from pytorch_optimizer.optimizer import scion

        iteration = scion.zero_power_via_newton_schulz_5
        exact = functools.partial(getattr(iteration, "func", iteration), dtype=torch.float64)
        scion.zero_power_via_newton_schulz_5 = exact
        return dict(**hyper, norm_type=scion.LMONorm[norm], foreach=False)

    return found


def dion(**hyper: Any) -> Callable[[], dict[str, Any]]:
    """Return what gives hyperparameters, and has all in float64 and not compiled, and the basis
    start as ours."""

    def found() -> dict[str, Any]:
        import torch
        import torch._dynamo
        from dion import dion_simple as module

        def randn(size: tuple[int, int], **how: Any) -> torch.Tensor:
            return torch.tensor(np.asarray(random_numbers(0, *size), np.float64))

        double = functools.partial(torch.tensor, dtype=torch.float64)
        own = {"float32": torch.float64, "tensor": double, "randn": randn}
        module.torch = SimpleNamespace(**{**vars(torch), **own})
        torch._dynamo.config.disable = True
        return hyper

    return found


def galore(**hyper: Any) -> Callable[[], dict[str, Any]]:
    """Return what gives hyperparameters, with singular vectors in float64, too, and with the signs
    that ours have."""

    def found() -> dict[str, Any]:
        import torch
        from galore_torch import galore_projector as module

        def svd(matrix: torch.Tensor, **how: Any) -> tuple[torch.Tensor, ...]:
            left, values, right = torch.linalg.svd(matrix, **how)
            columns = left if len(matrix) < len(matrix.T) else right.T
            first = (columns.abs() > 0.4 * columns.abs().amax(0)).int().argmax(0)
            signs = columns.gather(0, first[None])[0].sign()
            return left * signs, values, right * signs[:, None]

        own = {"float": torch.float64, "linalg": SimpleNamespace(svd=svd)}
        module.torch = SimpleNamespace(**{**vars(torch), **own})
        return hyper

    return found


def apollo_mini(**hyper: Any) -> Callable[[], dict[str, Any]]:
    """Return what gives hyperparameters, with the package's normal numbers replaced by random
    signs."""

    def found() -> dict[str, Any]:
        import torch
        from apollo_torch import random_projector
        from samestep.language.random_signs import random_signs

        def signs(shape: tuple[int, int], seed: int, **more: Any) -> torch.Tensor:
            found = random_signs(0, shape[1], APOLLO["projection_seed"], seed - 1)
            return torch.tensor(found[None], dtype=torch.float64)

        random_projector.stable_randn = signs
        random_projector.next_seed = lambda seed: seed + 1  # which is the parameter's number first
        return hyper

    return found


def soap(**hyper: Any) -> Callable[[], dict[str, Any]]:
    """Return what gives hyperparameters, and has its QR in float64, too, where it says float32."""

    def found() -> dict[str, Any]:
        import torch
        from pytorch_optimizer.optimizer import soap as module

        module.torch = SimpleNamespace(**{**vars(torch), "float32": torch.float64})
        return hyper

    return found


class PsgdTorch:
    """Steps of psgd_torch's functions for the fit QUAD, without noise, whose norm goes by traces.
    The factors are balanced after each fit, which changes no step."""

    def __init__(self, params: list[Any], lr: float, **hyper: Any) -> None:
        self.psgd: Any = importlib.import_module("torchzero.modules.adaptive.psgd.psgd")
        self.psgd.norm_lower_bound_spd = self.norm
        self.params, self.lr, self.hyper, self.steps = params, lr, hyper, 0

    @staticmethod
    def norm(product: Any) -> Any:
        powers = product.matrix_power(3), product.matrix_power(4)
        return powers[1].trace() / powers[0].trace()

    def step(self) -> None:
        self.steps += 1
        (param,), hyper = self.params, self.hyper
        grad, psgd = param.grad, self.psgd
        if self.steps == 1:
            self.mean, scale = grad.clone(), (grad**2).mean() ** -0.25
            self.factors, self.products = psgd.init_kron(
                grad, scale, max_skew=float("inf"), dQ="QUAD"
            )
        self.mean.lerp_(grad, 1 - hyper["momentum"])
        step = psgd.precond_grad_kron(self.factors, self.products, self.mean)
        if self.steps % hyper["precondition_frequency"] == 1:
            rate = 0.0 if self.steps == 1 else hyper["preconditioner_lr"]
            options = dict(betaL=0.0, damping=0.0, balance_prob=1.0)
            psgd.update_precond_kron_whiten_quad(
                self.factors, self.products, self.mean, lr=rate, **options
            )
        clip = hyper["clip_rms"] / max((step**2).mean().sqrt(), hyper["clip_rms"])
        param.data.mul_(1 - self.lr * hyper["weight_decay"])
        param.data.sub_(self.lr * hyper["update_rms"] * clip * step)


# without epsilon: the authors multiply it by the estimate of the next step
PRODIGY = dict(lr=1.0, betas=BETAS, eps=1e-30, d0=1e-2, d_coef=50.0, weight_decay=0.5)
DADAPT = dict(lr=1.0, betas=BETAS, eps=EPS, d0=1e-2, weight_decay=0.5)
DECOUPLED = dict(weight_decouple=True, foreach=False)
SHAMPOO = dict(lr=2**-4, betas=(0.5, 0.5), weight_decay=2**-3)
SEVERAL = dict(precondition_frequency=2, start_preconditioning_step=4)
# without decay: that package decays the parameter after the step
SOAP = dict(
    lr=LR, betas=BETAS, eps=EPS, weight_decay=0.0, shampoo_beta=0.9, precondition_frequency=2
)
PSGD = dict(
    lr=LR,
    momentum=0.8,
    weight_decay=0.1,
    preconditioner_lr=0.4,
    precondition_frequency=2,
    update_rms=0.5,
    clip_rms=0.9,
)
DION = dict(lr=LR, mu=0.8, weight_decay=0.1, rank=4)
# without decay, which is of the parameter after the step; what is projected, and how, is said in a
# group
GALORE = dict(lr=LR, betas=BETAS, eps=EPS)
SUBSPACE = dict(rank=3, update_proj_gap=4, scale=0.5)
AVERAGE = dict(r=0.5, weight_lr_power=1.5)
CAME = dict(lr=LR, betas=(0.8, 0.9, 0.7), eps=(1e-5, 1e-4), clip_threshold=0.5, weight_decay=0.1)
# the authors' decay is of the parameter after the step; they say in a group what is projected, and
# how
APOLLO = dict(lr=LR, betas=BETAS, eps=EPS, scale=9.0, update_proj_gap=5, projection_seed=7)
PROJECTED = dict(
    rank=1, proj="random", proj_type="right", scale_type="tensor", scale=9.0, update_proj_gap=5
)
# its weight decay is 1 with `constraint`, and its epsilon 1e-8
SCION = dict(lr=LR, scale=1.5, alpha=0.2)
THEIR_SCION = dict(lr=LR, scale=1.5, momentum=0.2, constraint=True)
SGDP = dict(
    lr=LR, momentum=0.8, dampening=0.2, eps=EPS, weight_decay=0.1, delta=2.0, wd_ratio=0.3,
    nesterov=True,  # without, its buffer is projected in place
)  # fmt: skip
ADAMP = dict(ADAM, delta=2.0, wd_ratio=0.3)
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
    "shampoo_of_sums": Case(
        "Shampoo",
        dict(SHAMPOO, betas=(0.5, 1.0), eps=2**-10),
        "distributed_shampoo:DistributedShampoo",
        distributed_shampoo(**{**SHAMPOO, "betas": (0.5, 1.0)}, epsilon=2**-10),
        ("weight",),
    ),
    "shampoo_sgd_grafting": Case(
        "Shampoo",
        dict(SHAMPOO, eps=2**-10, sgd_grafting=True, **SEVERAL),
        "distributed_shampoo:DistributedShampoo",
        distributed_shampoo(**SHAMPOO, epsilon=2**-10, grafting="sgd", **SEVERAL),
        ("weight",),
    ),
    "shampoo_adam_grafting": Case(
        "Shampoo",
        dict(SHAMPOO, eps=2**-10, grafting_beta2=0.5, grafting_eps=2**-16, **SEVERAL),
        "distributed_shampoo:DistributedShampoo",
        distributed_shampoo(
            **SHAMPOO, epsilon=2**-10, grafting=dict(beta2=0.5, epsilon=2**-16), **SEVERAL
        ),
        ("weight",),
    ),
    # of a square matrix: of another one the first product has a null space, where that package
    # takes the basis that the library returns
    "soap": Case(
        "SOAP", SOAP, "pytorch_optimizer:SOAP", soap(**SOAP), names=("weight",), square=True
    ),
    "psgd_kron": Case(
        "PSGDKron",
        dict(PSGD, damping=1e-30),
        "references:PsgdTorch",
        PSGD,
        ("weight",),
    ),
    "dion": Case(
        "Dion",
        dict(DION, eps=EPS),
        "dion.dion_simple:Dion",
        dion(**DION, epsilon=EPS),
        ("weight",),
    ),
    "galore": Case(
        "GaLore",
        dict(GALORE, **SUBSPACE),
        "galore_torch:GaLoreAdamW",
        galore(**GALORE),
        ("weight",),
    ),
    "prodigy": Case("Prodigy", PRODIGY, "prodigyopt:Prodigy", PRODIGY),
    "prodigy_options": Case(
        "Prodigy",
        dict(PRODIGY, lr=0.5, safeguard_warmup=True, use_bias_correction=True, growth_rate=1.1),
        "prodigyopt:Prodigy",
        dict(PRODIGY, lr=0.5, safeguard_warmup=True, use_bias_correction=True, growth_rate=1.1),
    ),
    "madgrad": Case(
        "MADGRAD",
        dict(lr=LR, momentum=0.8, weight_decay=0.1, eps=EPS),
        "madgrad:MADGRAD",
        dict(lr=LR, momentum=0.8, weight_decay=0.1, eps=EPS),
    ),
    # its sum of squares starts at 0
    "ftrl": Case(
        "FTRL",
        dict(lr=LR, l1=0.1, l2=0.2, beta=0.3, initial_accumulator_value=0.0),
        "pytorch_optimizer:FTRL",
        dict(lr=LR, lambda_1=0.1, lambda_2=0.2, beta=0.3, foreach=False),
    ),
    "sgdp": Case("SGDP", SGDP, "adamp:SGDP", SGDP),
    "adamp": Case("AdamP", ADAMP, "adamp:AdamP", ADAMP),
    "adamp_nesterov": Case(
        "AdamP", dict(ADAMP, nesterov=True), "adamp:AdamP", dict(ADAMP, nesterov=True)
    ),
    "adam_mini": Case("AdamMini", ADAM, "adam_mini:Adam_mini", dict(ADAM, verbose=False)),
    "scion": Case(
        "Scion", SCION, "pytorch_optimizer:SCION", scion("SPECTRAL", **THEIR_SCION), ("weight",)
    ),
    "scion_unconstrained": Case(
        "Scion",
        dict(SCION, weight_decay=0.1),
        "pytorch_optimizer:SCION",
        scion("SPECTRAL", **{**THEIR_SCION, "constraint": False}, weight_decay=0.1),
        ("weight",),
    ),
    "scion_sign": Case(
        "ScionSign", SCION, "pytorch_optimizer:SCION", scion("SIGN", **THEIR_SCION), ("weight",)
    ),
    "scion_rows": Case(
        "ScionRows", SCION, "pytorch_optimizer:SCION", scion("ROW", **THEIR_SCION), ("weight",)
    ),
    "scion_columns": Case(
        "ScionColumns", SCION, "pytorch_optimizer:SCION", scion("COL", **THEIR_SCION), ("weight",)
    ),
    "scion_columns_of_a_vector": Case(
        "ScionColumns", SCION, "pytorch_optimizer:SCION", scion("BIAS", **THEIR_SCION), ("bias",)
    ),
    "apollo_mini": Case(
        "APOLLOMini",
        APOLLO,
        "apollo_torch:APOLLOAdamW",
        apollo_mini(lr=LR, betas=BETAS, eps=EPS),
    ),
    "came": Case("CAME", CAME, "came_pytorch:CAME", CAME),
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
    # clips to p instead of 1, before the learning rate
    "sophia": Case(
        "Sophia",
        dict(lr=LR, betas=BETAS, rho=0.5, eps=EPS / 2, weight_decay=0.1),
        "pytorch_optimizer:SophiaH",
        dict(lr=2 * LR, betas=BETAS, p=0.5, eps=EPS, weight_decay=0.05, update_period=1000),
        estimates_every=3,
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
    params = {n: torch.tensor(array, requires_grad=True) for n, array in case.of(start).items()}
    given: list[Any] = [*params.values()]
    if name == "Adam_mini":  # which finds out by names that a matrix has a block for each row
        given = [("mlp" if param.ndim > 1 else "block", param) for param in given]
    if module == "apollo_torch":
        given = [dict(params=[p], **(PROJECTED if p.ndim > 1 else {})) for p in given]
    if module == "galore_torch":
        given = [dict(params=given, proj_type="std", **SUBSPACE)]
    hyper = case.their_hyper if isinstance(case.their_hyper, dict) else case.their_hyper()
    optimizer = getattr(importlib.import_module(module), name)(given, **hyper)
    if has_modes := hasattr(optimizer, "train"):
        optimizer.train()
    for k, grads in enumerate(steps):
        own = case.of(grads)
        for name, param in params.items():
            param.grad = torch.tensor(own[name])
        if case.estimates_every and k % case.estimates_every == 0:
            estimates = case.of(steps[(k + 1) % len(steps)])
            optimizer.step(hessian=[torch.tensor(estimates[name]) for name in params])
        else:
            optimizer.step()
    if has_modes:
        optimizer.eval()
    return {name: param.detach().reshape(-1).tolist() for name, param in params.items()}


if __name__ == "__main__":
    found = {name: run(case) for name, case in CASES.items()}
    VALUES.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
