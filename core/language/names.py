"""Names that a rule may use, and the name that was probably meant."""

from __future__ import annotations

import hashlib
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
    """Return the name of a rule that is made of another one, whose own may be as long as any: if it is too
    long, with a digest in place of its end."""
    if len(name) <= LONGEST_OF_FILE:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: LONGEST_OF_FILE - 17]}_{digest}"


# what other libraries and papers call hyperparameters and settings
ELSEWHERE = {
    "learning_rate": "lr", "alpha": "lr", "eta": "lr", "step_size": "lr", "epsilon": "eps",
    **dict.fromkeys(("b1", "b2", "beta1", "beta2", "beta_1", "beta_2"), "betas"), "rho": "alpha",
    "decay": "weight_decay", "decay_rate": "weight_decay", "wd": "weight_decay", "l2": "weight_decay",
    "clipvalue": "clip_value", "clipnorm": "clip_norm", "global_clipnorm": "clip_global_norm",
    "max_grad_norm": "clip_global_norm", "gradient_accumulation_steps": "accumulation_steps",
    "gradient": "grads", "gradients": "grads", "warmup": "warmup_steps", "min_lr": "min_value",
    "num_warmup_steps": "warmup_steps", "max_lr": "max_value",
}  # fmt: skip


def belongs_to_c(name: str) -> bool:
    """Return true for a name that C and C++ keep for themselves."""
    return "__" in name or (name[:1] == "_" and name[1:2].isupper())


def is_printable(name: str) -> bool:
    """Return true if every language takes ``name``, or one with a number behind it, for a variable."""
    return name.isidentifier() and name.isascii() and not belongs_to_c(name)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a part of a message that suggests a known name; empty if none is close."""
    known = list(known)
    here = ELSEWHERE.get(name)
    close = here if here in known else closest(name, known)
    return f"did you mean {close!r}? " if close else ""


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``, or an empty string."""
    import difflib  # for errors only

    return next(iter(difflib.get_close_matches(name, list(known), 1)), "")
