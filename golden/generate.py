"""Writes golden files: bits from the NumPy reference, truth from the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..install_command import install_command
from ..language.around import DEFAULTS
from ..language.dtypes import COMPUTE_DTYPE
from ..language.matrix_functions import FUNCTIONS
from ..language.passes import reachable
from ..language.rule import CLIPS, Rule
from ..language.scalars import as_numbers, next_scalars
from ..language.stages import stages
from ..language.tracer import trace_update
from ..rules import find_rule
from .around import all_cases
from .cases import Case
from .format import EXTENSION, VALUES, Golden, Header, chosen, own_folder, to_bytes
from .inputs import (
    ORDINARY,
    STEPS,
    as_matrix,
    gradients,
    leave_out,
    parameters,
    tame,
)
from .replay import replay

STORED_STEPS = (1, 2, 5, 10)
ESTIMATES = (1, 4, 8)  # the steps before which rules take in estimates of the Hessian
# in ulps of a parameter's largest element, for rules that multiply matrices: four times what
# another order of the products makes, and one rounding to 16 bits
TOLERANCE = {"float64": 8.0, "float32": 8.0, "float16": 1.0, "bfloat16": 1.0}
STATE_TOLERANCE = 80.0  # four times, too, in ulps of a state's largest element: squares of products
# four times what other libraries' decompositions make of bases, and of states that follow from them
BASIS_TOLERANCE = 256.0
ROTATING = frozenset({"eigenbasis", "rotated", "singular_basis"})
# Who says so. Part of the files, so it names the version that wrote them first, not this one.
PROVENANCE = "NumPy reference of samestep 0.1.0"


def generate(
    names: Sequence[str] | None = None,
    out: Path | str | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write the golden files of built-in rules; the same bytes each time, of rules that multiply
    matrices with the same library and processor.

    Parameters
    ----------
    names : sequence of str, optional
        Which: names of rules (``"adam"``: all variants and dtypes), labels (``"adam_amsgrad"``)
        or cases (``"adam_amsgrad.float32"``). All without it.
    out : path, optional
        Folder to write to, made if need be; without it, in a checkout, that of its own files.
    progress : callable, optional
        Is called with each case's name before its file is computed.

    Returns
    -------
    list of Path
        The files, in the order of the cases.

    Raises
    ------
    ValueError
        For a name that selects nothing, or without a folder, before anything is written.
    ImportError
        Without mpmath, saying what to install.
    """
    oracle, folder = _oracle(), own_folder(VALUES) if out is None else Path(out)
    paths = []
    for case in chosen(all_cases(), names):
        if progress is not None:
            progress(case.name)
        paths.append(_write(make(case, oracle), folder))
    return paths


def generate_for(
    rule: Rule | str,
    dtype: str = "float32",
    out: Path | str | None = None,
    changes: Mapping[int, Mapping[str, Any]] | None = None,
    **hyper: Any,
) -> Path:
    """Write the golden file of your own rule: bits without truth.

    Parameters
    ----------
    rule : Rule or str
        The rule, or the name of a built-in one; ``hyper`` are its hyperparameters and structural
        options, and ``changes`` says which are different from which step on.
    dtype : {"float32", "float64", "bfloat16", "float16"}
        The dtype of parameters and gradients.
    out : path, optional
        Folder to write to; without it the current one.

    Raises
    ------
    TypeError, ValueError
        For hyperparameters the rule does not have or a dtype that is none of these.
    """
    return _write(make(Case(find_rule(rule), dtype, hyper, changes or {}), None), Path(out or ""))


def make(case: Case, oracle: ModuleType | None) -> Golden:
    """Return the contents of a case's file; ``oracle`` is the module of that name, or None for
    none."""
    variant = case.variant
    if variant.state_dtype is not None or variant.stochastic:  # is rounded: far from the truth
        oracle = None
    start = parameters(case.name, case.dtype, case.larger)
    steps = gradients(case.name, case.dtype, case.larger)
    if case.suffix:
        tame(start, steps)
    elif variant.shared:
        leave_out(start, steps, "huge")
    if stages(case.variant).becomes:
        leave_out(start, steps, "special", "huge")
    if stages(case.variant).calls:
        start = {name: as_matrix(name, array) for name, array in start.items()}
        steps = [
            {n: None if grad is None else as_matrix(n, grad) for n, grad in grads.items()}
            for grads in steps
        ]
    inputs = {f"param.0.{name}": array for name, array in start.items()}
    for step, grads in enumerate(steps, 1):
        inputs |= {f"grad.{step}.{name}": grad for name, grad in grads.items() if grad is not None}
    golden = Golden(_header(case, oracle, start), inputs)
    results = replay(golden, case.rule, "numpy")
    truth = {} if oracle is None else oracle.truth(golden)
    return Golden(golden.header, {**inputs, **results, **truth})


def _header(case: Case, oracle: ModuleType | None, start: Mapping[str, Any]) -> Header:
    rule = case.variant
    variants = [rule.for_shape(array.shape) for array in start.values()]
    initial = {name: each.initial.get(name, 0.0) for each in variants for name in each.state}
    hyper = case.rule.hyperparameters(case.hyper)
    numbers = as_numbers({name: hyper[name] for name in rule.defaults})
    row, _ = next_scalars(rule, 0, rule.carry, numbers)
    # lazy is about gradients of some rows, of which there are none here
    unused = {"lazy", *DEFAULTS} - {*rule.defaults, *rule.around}
    unused |= set() if rule.stochastic else {"rounding", "seed"}
    return Header(
        rule=rule.name,
        label=case.label,
        options=dict(rule.options),
        dtype=case.dtype,
        compute_dtype=COMPUTE_DTYPE[case.dtype],
        hyperparameters={n: v for n, v in hyper.items() if v is not None and n not in unused},
        changes={str(step): _checked(case.rule, later) for step, later in case.changes.items()},
        steps=STEPS,
        stored_steps=list(STORED_STEPS),
        tensors=list(start),
        states=list(initial),
        initial_state={
            name: float(hyper[value] if isinstance(value, str) else value)
            for name, value in initial.items()
        },
        scalars=[*row, *(name for name in CLIPS if hyper[name] is not None)],
        carry=list(rule.carry),
        initial_carry=dict(rule.carry),
        shared=dict(rule.shared) or None,
        estimates=None
        if rule.hessian_rule is None
        else dict(rule=rule.hessian_rule.name, steps=list(ESTIMATES)),
        truth=None
        if oracle is None
        else oracle.announcement(case.rule.name, list(ORDINARY), list(STORED_STEPS)),
        provenance=PROVENANCE,
        settings=dict(case.settings) if case.suffix else None,
        tolerance=TOLERANCE[case.dtype] if stages(rule).calls else None,
        state_tolerance=_state_tolerance(rule),
    )


def _state_tolerance(rule: Rule) -> dict[str, float] | None:
    """Return the tolerance of each state that follows from products of matrices, None without
    any."""
    after, _ = trace_update(rule)
    called = {
        name: FUNCTIONS.keys() & {node.op for node in reachable([after[name]])}
        for name in rule.state
    }
    return {
        name: BASIS_TOLERANCE if functions & ROTATING else STATE_TOLERANCE
        for name, functions in called.items()
        if functions
    } or None


def _checked(rule: Rule, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyperparameters as plain floats and tuples of floats."""
    hyper = rule.hyperparameters(given)
    return {name: hyper[name] for name in given}


def _write(golden: Golden, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{golden.header.name}{EXTENSION}"
    path.write_bytes(to_bytes(golden))
    return path


def _oracle() -> ModuleType:
    try:
        from . import oracle
    except ModuleNotFoundError as error:
        if error.name != "mpmath":
            raise
        raise ImportError(
            f"the truth in golden files needs mpmath: {install_command('oracle')}"
        ) from error
    return oracle
