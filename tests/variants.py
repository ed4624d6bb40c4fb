"""Every variant of every built-in rule, and values that have broken implementations before."""

from __future__ import annotations

from typing import Any

import numpy as np
import samestep as ss
from samestep.golden.cases import variants as every_variant
from samestep.language.hyperparameters import is_count
from samestep.language.stages import stages
from samestep.rules import find_rule

__all__ = [
    "AT_REST",
    "DTYPES",
    "SPECIAL",
    "every_variant",
    "exported_variants",
    "fitting",
    "has_bits_of_numpy",
    "options_of",
    "values",
    "variants",
]
AT_REST = {"sgd", "adagrad", "signsgd"}  # a zero gradient changes nothing, without weight decay
DTYPES = ("float32", "float64", "bfloat16", "float16")
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 5e-324, -1e-310, 1e-45, -1e-41, 6e-8, -1e-6, 1e-30, 2.0**-126, 65504.0,
     -1e30, 3.4e38, 1e200, -1e308, np.inf, -np.inf, np.nan]
)  # fmt: skip


def variants() -> list[ss.Rule]:
    """All variants that can be printed and take parameters of any shape: those that call no
    function of a whole matrix, which are in `every_variant`, too."""
    return [rule for rule in every_variant() if not stages(rule).calls]


def exported_variants() -> list[ss.Rule]:
    """All variants that can be exported as a file: no step of one tensor depends on the others."""
    return [rule for rule in variants() if not rule.shared]


def exported_variant(rule: ss.Rule, target: str, dtype: str) -> str:
    """Return the file of a variant, with a check where it can be checked by golden files."""
    return ss.export(rule, target, dtype, with_check=rule.hessian_rule is None)


def has_bits_of_numpy(rule: ss.Rule | str, backend: str) -> bool:
    """Return whether a rule has the reference's bits on this backend: one that multiplies matrices
    has the bits of another library on a device."""
    return backend not in ("cupy", "doubled") or not stages(find_rule(rule)).calls


def fitting(rule: ss.Rule | str, tree: Any) -> Any:
    """Arrays in lists and dicts, as the rule takes them: for a rule of matrices vectors and numbers
    are matrices of one column, and a complex number is two real ones."""
    if not stages(find_rule(rule)).calls:
        return tree
    if isinstance(tree, dict):
        return {key: fitting(rule, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [fitting(rule, value) for value in tree]
    real = tree.view(tree.real.dtype) if tree.dtype.kind == "c" else tree
    return real if real.ndim > 1 else real.reshape(-1, 1)


def options_of(rule: ss.Rule) -> dict:
    """Hyperparameters that make an optimizer use this variant."""
    numbers = [
        name
        for name, on in rule.options.items()
        if name in rule.defaults and name not in rule.choices and not is_count(on)
    ]
    return {n: 0.9 * on if n in numbers else on for n, on in rule.options.items() if on is not None}


def values(rng: np.random.Generator, shape, dtype, special: float) -> np.ndarray:
    """Numbers of widely different sizes, a fraction ``special`` of them special."""
    with np.errstate(all="ignore"):
        numbers = rng.standard_normal(shape) * 10.0 ** rng.integers(-12, 4, shape)
        chosen = np.where(rng.random(shape) < special, rng.choice(SPECIAL, shape), numbers)
        return np.asarray(chosen).astype(dtype)
