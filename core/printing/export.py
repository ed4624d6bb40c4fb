"""Export of a rule as one file to embed in a program that does not have this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..language.around import name_inside
from ..language.codecs import StateDtype
from ..language.dtypes import named
from ..language.rule import Rule
from ..rules import registry
from .emit import checked

TARGETS = ("c", "cuda", "numpy", "numba")


def export(
    rule: Rule | str,
    target: str = "c",
    dtype: str = "float32",
    grad_dtype: str | None = None,
    *,
    state_dtype: StateDtype = None,
    rounding: str | None = None,
    with_check: bool = False,
    **options: bool | int | str,
) -> str:
    """Return the text of one self-contained file: scalars, update, initial state and how to call
    them.

    Parameters
    ----------
    rule : Rule or str
        A rule or the name of a built-in one; ``options`` are its structural options, ``master``,
        ``compensated`` and ``average`` as in `samestep.Optimizer`, ``copy_to``, the dtype of the
        copy that it has, and ``clip_value=True`` or ``clip_norm=True`` for an update that clips its
        gradient first.
    target : {"c", "cuda", "numpy", "numba"}
        C99 that C++ takes, too; CUDA C++; a Python module that needs NumPy alone, or NumPy and
        Numba.
    dtype, grad_dtype : str
        Storage dtypes of parameters and gradients, ``grad_dtype`` by default the same.
    state_dtype : str or mapping, optional
        What states are stored in, as in `samestep.Optimizer`; by default what ``rule`` says.
    rounding : {"nearest", "stochastic"}, optional
        How what is stored in 16 bits is rounded, in the same way.
    with_check : bool
        Add a main program that replays a golden file and compares bits; its exit status is 1 if
        one differs.

    Raises
    ------
    ValueError
        For an unknown target, rule, dtype or rounding; stochastic rounding where nothing is stored
        in 16 bits; a check of gradients in another dtype than the parameters' (there are no golden
        files of these), or of a rule that takes estimates of the Hessian; a rule whose text cannot
        be read, or that goes by sums over all parameters.
    TypeError
        For an unknown option.
    """
    return text_of_file(rule, target, dtype, grad_dtype, state_dtype, rounding, with_check, options)


def text_of_file(
    rule: Rule | str,
    target: str,
    dtype: str,
    grad_dtype: str | None,
    state_dtype: StateDtype,
    rounding: str | None,
    with_check: bool,
    options: Mapping[str, bool | int | str],
    typed: str = "",
) -> str:
    """Return what `export` does. ``typed`` is what the command line calls the rule."""
    from ..language.passes import program
    from .exported import Exported
    from .files import c, check_c, check_python, cuda, numba, numpy

    dtype, grad_dtype = named(dtype), named(grad_dtype)
    family, clips, grad_dtype = checked(
        TARGETS, rule, target, dtype, grad_dtype, state_dtype, rounding, options
    )
    if family.shared:
        raise ValueError(
            f"rule {family.name!r} goes by sums over all parameters, and the functions of an exported file "
            "update one tensor; emit prints its update, whose scalars take these sums in their carry"
        )
    if with_check and family.hessian_rule:
        raise ValueError(
            f"rule {family.name!r} takes estimates of the Hessian between steps, by "
            f"{family.hessian_rule.name}, which is exported by itself; golden files have both, so an "
            "exported step alone cannot be checked with one; leave with_check out"
        )
    if with_check and grad_dtype != dtype:
        raise ValueError(
            f"grad_dtype={grad_dtype!r}: with_check compares with golden files, and golden files have "
            f"gradients in {dtype}; leave one of the two out"
        )
    programs = tuple(program(each) for each in variants_by_shape(family, clips))
    name = name_inside(family.name, family.around)
    called = typed or (name if name in registry else f"MODULE:{family.name}")
    command = _command(called, family, clips, target, dtype, grad_dtype)
    exported = Exported(family, programs, target, dtype, grad_dtype, command)
    if with_check:
        check = check_c if target in ("c", "cuda") else check_python
        exported = replace(exported, check=check.check_program(exported))
    file = dict(zip(TARGETS, (c, cuda, numpy, numba), strict=True))[target]
    text: str = file.text(exported)
    return text


def variants_by_shape(family: Rule, clips: tuple[str, ...] = ()) -> list[Rule]:
    """Return the variants that parameters need: one, or one for matrices and one for tensors of
    fewer than two axes."""
    from ..language.clipping import clipped

    shaped = dict.fromkeys(family.for_shape(shape) for shape in ((2, 2), (2,)))
    return [clipped(each, clips) for each in shaped]


def _command(
    called: str, family: Rule, clips: Iterable[str], target: str, dtype: str, grad_dtype: str
) -> str:
    """Return the words of the command line that write the file again."""
    usual = family.factory().options if family.factory else family.options
    words = ["samestep export", called, "--target", target]
    words += ["--dtype", dtype] * (dtype != "float32")
    words += ["--grad-dtype", grad_dtype] * (grad_dtype != dtype)
    if isinstance(family.state_dtype, str):
        words += ["--state-dtype", family.state_dtype]
    else:
        for name, codec in (family.state_dtype or {}).items():
            words += ["--state-dtype", f"{name}={codec}"]
    words += ["--rounding", family.rounding] * family.stochastic
    for name, on in family.options.items():
        if on != usual[name]:
            words += [
                "--option",
                f"{name}={on}" if isinstance(on, str) else name if on else f"no_{name}",
            ]
    for name, value in family.around.items():
        words += ["--option", name if value is True else f"{name}={value}"]
    for name in clips:
        words += ["--option", name]
    return " ".join(words)
