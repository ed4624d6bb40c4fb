"""Names that a rule may use, and the name that was probably meant."""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from typing import Any

PER = ("row", "column", "tensor")


# what optimizers, their groups and functional forms take for themselves, or for every rule
TAKEN = frozenset({
    "self", "rule", "rules", "params", "grads", "state", "backend", "frozen", "maximize", "lazy", "state_dtype",
    "options", "rounding", "seed", "master", "compensated", "average", "copy_to",
    "clip_global_norm", "skip_nonfinite", "loss_scaler", "accumulation_steps", "weight_decay_mask",
    "cast_gradients", "warn_lost_updates",
    "foreach", "fused", "capturable", "differentiable", "param_names", "initial_lr", "param", "grad", "name",
})  # fmt: skip


LONGEST = 63  # characters that C99 promises to tell names apart by
LONGEST_OF_FILE = 150  # of a rule and its options: files are named after it, with more behind it


def check_names(
    kind: str, names: Iterable[Any], where: str, taken: Iterable[str] = (), longest: int = LONGEST
) -> None:
    """Raise ValueError for a name that cannot be printed in every language, or is ``taken``."""
    for name in names:
        good = isinstance(name, str) and name.isidentifier() and name.isascii()
        if not good or keyword.iskeyword(name):
            raise ValueError(f"{where}{kind} must be an identifier in ASCII, not {name!r}")
        if len(name) > longest:
            raise ValueError(
                f"{where}{kind} must have at most {longest} characters; {name[:20]!r}... has {len(name)}"
            )
        if belongs_to_c(name):
            raise ValueError(
                f"{where}{kind} must be without __ and must not begin with _ and a capital, as names "
                f"that C and C++ keep for themselves do: not {name!r}"
            )
        if name in taken:
            raise ValueError(f"{where}{kind} cannot be called {name!r}: that means something else")


def shortened(name: str) -> str:
    """Return the name of a rule that is made of another one, whose own may be as long as any: if it
    is too long, with a digest in place of its end."""
    if len(name) <= LONGEST_OF_FILE:
        return name
    import hashlib  # for long names only

    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: LONGEST_OF_FILE - 17]}_{digest}"


# what other libraries and papers call hyperparameters, settings and rules, by the names that they
# have here
CALLED = {
    "lr": "learning_rate alpha eta step_size",
    "eps": "epsilon",
    "betas": "b1 b2 beta1 beta2 beta_1 beta_2",
    "alpha": "rho",
    "weight_decay": "decay decay_rate wd l2",
    "weight_decay_mask": "mask decay_mask exclude_from_weight_decay no_weight_decay weight_decay_exclude",
    "clip_value": "clipvalue",
    "clip_norm": "clipnorm",
    "clip_global_norm": "global_clipnorm max_grad_norm max_norm grad_clip grad_clip_norm clip_grad "
    "clip_grad_norm gradient_clip_norm gradient_clip_val clip_by_global_norm",
    "accumulation_steps": "gradient_accumulation_steps grad_accum_steps every_k_schedule",
    "loss_scaler": "scaler grad_scaler loss_scale loss_scale_factor",
    "cast_gradients": "cast",
    "grads": "gradient gradients",
    "estimates": "hessian hessian_estimates diagonal",
    "history": "history_size maxcor m memory_size",
    "max_evals": "max_eval maxfun",
    "tolerance_grad": "gtol tol",
    "tolerance_change": "ftol",
    "average": "ema use_ema swa polyak polyak_averaging",
    "average_decay": "ema_decay ema_momentum ema_beta swa_decay average_beta",
    "average_start": "ema_start swa_start average_step average_steps",
    "average_every": "swa_freq average_freq average_period",
    "state_dtype": "dtype mu_dtype moment_dtype exp_avg_dtype accumulator_dtype optim_bits use_8bit",
    "rounding": "stochastic_rounding stochastic_round bf16_stochastic_round use_stochastic_rounding",
    "compensated": "kahan kahan_sum kahan_summation use_kahan_summation",
    "master": "master_dtype fp32_master use_fp32_master_weights",
    "seed": "random_seed generator rng key",
    "rules": "param_labels transforms overrides rules_by_name",
    "copy_to": "copies half_params model_params",
    "frozen": "freeze trainable requires_grad",
    "backend": "fused foreach device jit",
    "warmup_steps": "warmup num_warmup_steps",
    "min_value": "min_lr",
    "max_value": "max_lr",
    "mars_adamw": "mars",
    "adamw_schedulefree": "schedulefree schedule_free",
    "Adam(amsgrad=True)": "amsgrad AMSGrad",
    "LossScaler": "GradScaler",
    "float16": "fp16 half",
    "bfloat16": "bf16",
    "float32": "fp32 single",
    "dynamic8": "8bit 8-bit",
    "stochastic": "sr random",
    "ss.LBFGS": "lbfgs l_bfgs",
}
ELSEWHERE = {theirs: ours for ours, names in CALLED.items() for theirs in names.split()}


def belongs_to_c(name: str) -> bool:
    """Return true for a name that C and C++ keep for themselves."""
    return "__" in name or (name[:1] == "_" and name[1:2].isupper())


def is_printable(name: str) -> bool:
    """Return true if every language takes ``name``, or one with a number behind it, for a
    variable."""
    return name.isidentifier() and name.isascii() and not belongs_to_c(name)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a part of a message that suggests a known name; empty if none is close."""
    known = list(known)
    here = ELSEWHERE.get(name)
    close = here if here in known else closest(name, known)
    return f"did you mean {close!r}? " if close else ""


def meant(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that suggests a known value; empty if none is close."""
    hint = suggestion(name, known)
    return f"; {hint.rstrip()}" if hint else ""


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``, first of all but for case; or an empty
    string."""
    import difflib  # for errors only

    known = list(known)
    same = [other for other in known if other.lower() == name.lower()]
    return next(iter(same or difflib.get_close_matches(name, known, 1)), "")
