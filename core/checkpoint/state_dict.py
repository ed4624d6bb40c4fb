"""Snapshots of a run, in torch's layout."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..choice import get_backend
from ..language.dtypes import dtype_of
from ..language.rule import Rule
from ..parameters.groups import name_of
from ..parameters.hyper import as_held, numbers_at
from ..parameters.trees import flatten
from ..protocol import Backend
from ..step.accumulation import RULE as ACCUMULATE
from ..step.loss_scaler import LossScaler
from ..step.run import Run
from ..step.settings import Settings
from .torch_layout import IGNORED, layout_of, read_entry

# what a group of a snapshot of ours has besides hyperparameters
OWN = {"params", "frozen", "options", "weight_decay_mask", "name"}
# what a snapshot has of the optimizer as a whole; one from torch has none of it
SETTINGS = ("clip_global_norm", "skip_nonfinite", "accumulation_steps", "cast_gradients")
COUNTS = ("steps_taken", "skipped_steps")


# ---- taking one


def take(run: Run, copied: bool = True) -> dict[str, Any]:
    """Take a snapshot; see `samestep.Optimizer.state_dict`. If not ``copied``, it has the run's own
    arrays and schedules, to be written to a file right away."""
    run.settle()
    own = functools.partial(run.backend.to_numpy, copied=copied)
    state, sums = {}, {}
    for i, (tensor, clock) in enumerate(zip(run.groups.tensors, run.groups.clocks, strict=True)):
        arrays = {name: own(array) for name, array in tensor.state.items()}
        state[i] = {"step": clock.step, **clock.carry, **arrays}
    if run.micro_steps:
        found = run.stepping.accumulation
        pairs = enumerate(zip(found.sums, found.filled, strict=True))
        sums = {i: own(array) for i, (array, filled) in pairs if filled}
    scaler = run.settings.loss_scaler
    snapshot = {
        "rule": run.rule.name,
        "state": state,
        "param_groups": [_group(run, k) for k in range(len(run.groups.entries))],
        **{name: getattr(run.settings, name) for name in SETTINGS},
        **{name: getattr(run, name) for name in COUNTS},
        "loss_scaler": None if scaler is None else scaler.state_dict(),
        "micro_steps": run.micro_steps,
        "accumulated": sums,
    }
    return _with_own_schedules(snapshot) if copied else snapshot


def _group(run: Run, k: int) -> dict[str, Any]:
    """Return what a snapshot has of one group."""
    members = _members(run, k)
    decays = [run.groups.clocks[i].decays for i in members]
    return {
        **{name: run.groups.entries[k][name] for name in (*run.defaults, "frozen")},
        **name_of(run.groups.entries[k]),
        "options": dict(run.groups.rules[k].options),
        "weight_decay_mask": None if all(decays) else decays,
        "params": members,
    }


def _members(run: Run, k: int) -> list[int]:
    """Return the positions of a group's parameters."""
    return [i for i, clock in enumerate(run.groups.clocks) if clock.group == k]


def _with_own_schedules(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Return the snapshot with copies of its schedules; one of two groups stays one."""
    shared = {n: snapshot[n] for n in ("param_groups", "clip_global_norm") if n in snapshot}
    return {**snapshot, **copy.deepcopy(shared)}


# ---- going on from one


def restore(run: Run, snapshot: Mapping[str, Any], copied: bool = True) -> None:
    """Go on from a snapshot; see `samestep.Optimizer.load_state_dict`.

    Checks everything first, then changes. If not ``copied``, the snapshot's schedules become the
    run's own.
    """
    run.settle()
    tensors, clocks = run.groups.tensors, run.groups.clocks
    check_fit(snapshot, run.rule, [len(_members(run, k)) for k in range(len(run.groups.entries))])
    if unknown := [i for i in snapshot["state"] if i not in range(len(tensors))]:
        raise ValueError(
            f"the state dict has state for parameters {unknown}; this optimizer has {len(tensors)}"
        )
    if copied:
        snapshot = _with_own_schedules(snapshot)
    settings, counts = _checked_settings(run, snapshot)
    groups = [_checked_group(run, k, snapshot) for k in range(len(run.groups.entries))]
    entries = [_checked_state(run, i, snapshot["state"].get(i)) for i in range(len(tensors))]
    sums = _checked_sums(run, snapshot)

    run.settings, (run.steps_taken, run.skipped_steps) = settings, counts
    for k, (group, (hyper, decays)) in enumerate(zip(run.groups.entries, groups, strict=True)):
        group.update(hyper)
        for i, decays_here in zip(_members(run, k), decays, strict=True):
            clocks[i].decays = decays_here
    for i, (tensor, (step, carry, arrays)) in enumerate(zip(tensors, entries, strict=True)):
        clocks[i] = replace(clocks[i], step=step, carry=carry)
        for name, values in arrays.items():
            run.backend.copy_into(tensor.state[name], values)
    run.forget()
    if count := snapshot.get("micro_steps", 0):
        accumulation = run.stepping.accumulation
        accumulation.count = count
        for i, values in sums.items():
            accumulation.filled[i] = True
            run.backend.copy_into(accumulation.sums[i], values)


def check_fit(snapshot: Mapping[str, Any], rule: Rule, sizes: Sequence[int]) -> None:
    """Raise TypeError or ValueError for what is no snapshot, or one of another rule or of groups
    with other numbers of parameters than ``sizes``."""
    if not isinstance(snapshot, Mapping) or not {"state", "param_groups"} <= set(snapshot):
        raise TypeError("a state dict has 'state' and 'param_groups'")
    if not isinstance(snapshot["state"], Mapping):
        kind = type(snapshot["state"]).__name__
        raise TypeError(f"state dict: 'state' maps a parameter's position to its state, not {kind}")
    if snapshot.get("rule", rule.name) != rule.name:
        raise ValueError(f"the state dict is of rule {snapshot['rule']!r}; this is {rule.name!r}")
    groups = snapshot["param_groups"]
    if len(groups) != len(sizes):
        raise ValueError(f"the state dict has {len(groups)} groups; this optimizer {len(sizes)}")
    for k, (group, count) in enumerate(zip(groups, sizes, strict=True)):
        where = f"state dict, group {k}: "
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"{where}must be a dict with 'params' and hyperparameters")
        if len(group["params"]) != count:
            raise ValueError(f"{where}{len(group['params'])} parameters, expected {count}")
        for name, value in layout_of(rule).kind.items():
            if group.get(name, value) != value:
                raise ValueError(f"{where}{name} is {group[name]}; that is not {rule.name}")


def _checked_settings(run: Run, snapshot: Mapping[str, Any]) -> tuple[Settings, list[int]]:
    """Return the settings and the step counts; as they are, where the snapshot has none."""
    names = (*SETTINGS, "loss_scaler")
    found = {name: snapshot.get(name, getattr(run.settings, name)) for name in names}
    counts = {name: snapshot.get(name, getattr(run, name)) for name in COUNTS}
    for name, count in {**counts, "micro_steps": snapshot.get("micro_steps", 0)}.items():
        if not isinstance(count, int) or count < 0:
            raise ValueError(f"state dict: {name} is {count!r}; expected a whole number")
    if isinstance(found["loss_scaler"], Mapping):
        found["loss_scaler"] = LossScaler(**found["loss_scaler"])
    settings = Settings(**found)
    settings.at(counts["steps_taken"], "state dict: ")
    return settings, list(counts.values())


def _checked_group(
    run: Run, k: int, snapshot: Mapping[str, Any]
) -> tuple[dict[str, Any], list[bool]]:
    """Return the hyperparameters of a group, and its weight decay mask."""
    group, where = snapshot["param_groups"][k], f"state dict, group {k}: "
    own, rule = [run.groups.clocks[i].decays for i in _members(run, k)], run.groups.rules[k]
    others = OWN | IGNORED | layout_of(run.rule).kind.keys()
    hyper = {name: value for name, value in group.items() if name not in others}
    numbers = numbers_at(run.rule, hyper, snapshot.get("steps_taken", 0), where)
    options = group.get("options", rule.options)
    if options != rule.options:
        raise ValueError(
            f"{where}has the structural options {options}; "
            f"this optimizer was made with {dict(rule.options)}"
        )
    rule.check_options(numbers, where)
    decays = group.get("weight_decay_mask", own)  # torch's says nothing of it
    if decays is None:
        decays = [True] * len(own)
    if len(decays) != len(own) or not all(isinstance(each, bool) for each in decays):
        raise ValueError(f"{where}weight_decay_mask must be a bool for each parameter")
    held = {**as_held(hyper, numbers), "frozen": bool(group.get("frozen", False)), **name_of(group)}
    return held, list(decays)


def _checked_state(
    run: Run, i: int, entry: Mapping[str, Any] | None
) -> tuple[int, dict[str, float], dict[str, Any]]:
    """Return the step count, carry and arrays of one parameter; fresh ones if it has no entry."""
    tensor, clock = run.groups.tensors[i], run.groups.clocks[i]
    where = f"state dict, {tensor.name}: "
    found = read_entry(clock.rule, entry or {}, where)
    if found is None:
        hyper = run.groups.numbers(run.steps_taken)[clock.group]
        return 0, dict(clock.rule.carry), run.backend.new_state(tensor, clock.rule, hyper)
    step, carry, values = found
    arrays = {
        name: _checked_array(run.backend, values[name], tensor.state[name], f"{where}{name}")
        for name in clock.rule.state
    }
    return step, carry, arrays


def _checked_sums(run: Run, snapshot: Mapping[str, Any]) -> dict[int, Any]:
    count, sums = snapshot.get("micro_steps", 0), snapshot.get("accumulated", {})
    if not isinstance(sums, Mapping) or (sums and not count):
        raise ValueError("state dict: accumulated maps positions to sums over micro_steps > 0")
    result = {}
    for i, values in sums.items():
        if i not in range(len(run.groups.tensors)):
            raise ValueError(f"state dict: accumulated has a parameter {i!r}, which does not exist")
        tensor = run.groups.tensors[i]
        like = run.backend.new_state(tensor, ACCUMULATE, {})["grad_sum"]
        where = f"state dict, {tensor.name}: accumulated"
        result[i] = _checked_array(run.backend, values, like, where)
    return result


def _checked_array(backend: Backend, values: Any, like: Any, name: str) -> Any:
    values, dtype = backend.to_numpy(values, copied=False), dtype_of(like)
    if values.shape != like.shape:
        raise ValueError(f"{name} has shape {values.shape}; expected {tuple(like.shape)}")
    if values.dtype.kind in "OSU" or not np.can_cast(values.dtype, dtype, "same_kind"):
        raise TypeError(f"{name} has dtype {values.dtype}; expected {dtype}")
    return values


# ---- pickle and deepcopy


def pickled(run: Run) -> dict[str, Any]:
    """Return what pickle and deepcopy keep of an optimizer."""
    return {
        "rule": run.rule,
        "defaults": run.defaults,
        "backend": run.backend.name,
        "single": run.groups.single,
        "params": [group["params"] for group in run.groups.entries],
        "snapshot": take(run),
    }


def unpickled(saved: dict[str, Any]) -> Run:
    """Return the run that was pickled; where its backend cannot run, with a warning, on that which
    is chosen for its arrays."""
    leaves = [leaf for tree in saved["params"] for leaf in flatten(tree, "params")[0]]
    backend = saved["backend"]
    try:
        get_backend(backend, leaves)
    except (RuntimeError, ValueError) as error:
        chosen = get_backend(None, leaves).name
        warnings.warn(f"{error}; the optimizer goes on with {chosen!r}", stacklevel=3)
        backend = None
    run = Run(
        saved["rule"],
        saved["defaults"],
        backend,
        [{"params": tree} for tree in saved["params"]],
        saved["single"],
        Settings(),
        [group["options"] for group in saved["snapshot"]["param_groups"]],
    )
    restore(run, saved["snapshot"])
    return run
