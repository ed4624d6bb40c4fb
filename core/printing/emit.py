"""Readable source text of a rule for a target language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..language.around import STRUCTURAL, check_bits, checked_choice
from ..language.codecs import StateDtype, checked_state_dtype
from ..language.dtypes import COMPUTE_DTYPE, gradient_dtypes, named
from ..language.outside import check_constants
from ..language.rounding import checked_rounding, streams
from ..language.rule import CLIPS, Rule
from ..parts.by_keyword import variant_of
from ..rules import find_rule

TARGETS = ("numba", "c", "cuda")


def emit(
    rule: Rule | str,
    target: str = "c",
    dtype: str = "float32",
    grad_dtype: str | None = None,
    *,
    state_dtype: StateDtype = None,
    rounding: str | None = None,
    **options: bool | int | str,
) -> str:
    """Return the update of ``rule`` as source text.

    Parameters
    ----------
    rule : Rule or str
        A rule or the name of a built-in one; ``options`` are its structural options, ``master``,
        ``compensated`` and ``average`` as in `samestep.Optimizer`, ``copy_to``, the dtype of the
        copy that it has, and ``clip_value=True`` or ``clip_norm=True`` for an update that clips its
        gradient first.
    target : {"numba", "c", "cuda"}
        A Python module of Numba kernels, C99, or CUDA C.
    dtype, grad_dtype : str
        Storage dtypes of parameters and gradients, ``grad_dtype`` by default the same.
    state_dtype : str or mapping, optional
        What states are stored in, as in `samestep.Optimizer`; by default what ``rule`` says.
    rounding : {"nearest", "stochastic"}, optional
        How what is stored in 16 bits is rounded, in the same way.

    Raises
    ------
    ValueError
        For an unknown target, rule, dtype or rounding, a ``state_dtype`` for float64, or stochastic
        rounding where nothing is stored in 16 bits.
    """
    from ..language.clipping import clipped  # nothing of this is needed before
    from ..language.passes import program
    from .c import C
    from .cuda import Cuda
    from .numba import Numba
    from .printer import Printer

    dtype, grad_dtype = named(dtype), named(grad_dtype)
    family, clips, grad_dtype = checked(
        TARGETS, rule, target, dtype, grad_dtype, state_dtype, rounding, options
    )
    language = dict(zip(TARGETS, (Numba, C, Cuda), strict=True))[target]
    return Printer(program(clipped(family, clips)), dtype, grad_dtype, language).source()


def checked(
    targets: Iterable[str],
    rule: Rule | str,
    target: str,
    dtype: str,
    grad_dtype: str | None,
    state_dtype: StateDtype,
    rounding: str | None,
    options: Mapping[str, bool | int | str],
) -> tuple[Rule, tuple[str, ...], str]:
    """Return the variant, the kinds of clipping and the gradients' dtype that these arguments ask
    for.

    Raises what `emit` raises.
    """
    if target not in targets:
        raise ValueError(f"target={target!r}: expected one of {', '.join(targets)}")
    if dtype not in COMPUTE_DTYPE:
        raise ValueError(f"dtype={dtype!r}: expected one of {', '.join(COMPUTE_DTYPE)}")
    grad_dtype = grad_dtype or dtype
    if grad_dtype not in gradient_dtypes(dtype):
        raise ValueError(
            f"grad_dtype={grad_dtype!r}: expected one of {', '.join(gradient_dtypes(dtype))}"
        )
    clips = tuple(name for name in CLIPS if options.get(name))
    found = find_rule(rule)
    asked = {n: checked_choice(n, v) for n, v in options.items() if n in STRUCTURAL}
    structural = {n: on for n, on in options.items() if n not in CLIPS and n not in asked}
    codecs = found.state_dtype if state_dtype is None else checked_state_dtype(state_dtype)
    rounds = found.rounding if rounding is None else checked_rounding(rounding)
    hyper = {**STRUCTURAL, **found.around, **asked, "state_dtype": codecs, "rounding": rounds}
    family = variant_of(found, hyper, structural)
    check_constants(family)
    check_bits(f"dtype={dtype!r}", family.around, dtype)
    if family.state_dtype is not None and COMPUTE_DTYPE[dtype] != "float32":
        raise ValueError(
            f"state_dtype={family.state_dtype!r}: codecs load to float32, and steps of {dtype} are "
            "computed in float64; expected None"
        )
    if family.stochastic and not streams(family, dtype):
        raise ValueError(
            f"rounding={family.rounding!r}: nothing of {dtype} parameters is stored in 16 bits; "
            "choose a dtype or a state_dtype of 16 bits, or leave it out"
        )
    return family, clips, grad_dtype
