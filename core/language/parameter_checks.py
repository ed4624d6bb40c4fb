"""Checks whether a rule is for a parameter, by the parameter's dtype and shape."""

from __future__ import annotations

from ..pages import see
from .around import check_bits
from .dtypes import COMPUTE_DTYPE
from .rule import Rule
from .stages import stages


def check_parameter(
    name: str, dtype: str, is_complex: bool, shape: tuple[int, ...], rule: Rule
) -> None:
    """Raise TypeError or ValueError for a parameter that ``rule`` is not for: whose states its
    codecs do not store, that its parts are not for, or that is no matrix where it calls functions
    of whole ones. The dtype of a complex one is that of its pairs."""
    _check_storage(name, dtype, is_complex, rule)
    if not stages(rule).calls:
        return
    if is_complex:
        raise TypeError(f"{name} is complex; {rule.name} needs real parameters")
    if len(shape) < 2:
        raise ValueError(
            f"{name} has shape {shape}; {rule.name} is for matrices, parameters of two "
            'axes or more. Give it a rule of its own: {"params": ..., "rule": ...}'
            f"{see('howto/rules_by_name.md')}"
        )


def _check_storage(name: str, dtype: str, is_complex: bool, rule: Rule) -> None:
    if not (rule.storage or rule.around):
        return
    kind = f"complex, of pairs of {dtype}" if is_complex else f"of {dtype}"
    check_bits(f"{name} is {kind}", rule.around, dtype)
    if rule.storage and (is_complex or COMPUTE_DTYPE[dtype] != "float32"):
        why = f"codecs load to float32, and steps of {dtype} are computed in float64"
        if is_complex:
            why = "its states are complex, and codecs store real numbers"
        raise TypeError(
            f"{name} is {kind}; state_dtype={rule.state_dtype!r} is for real parameters of "
            f"float32, bfloat16 or float16: {why} (a group with state_dtype=None takes others)"
        )
