"""Snapshots of a run, in torch's layout."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..choice import get_backend
from ..language.dtypes import dtype_of
from ..parameters.clock import Clock
from ..parameters.hyper import checked
from ..parameters.trees import flatten
from ..protocol import Backend
from ..step.accumulation import RULE as ACCUMULATE
from ..step.loss_scaler import LossScaler
from ..step.run import Run
from ..step.settings import Settings
from .torch_layout import IGNORED, check_kind, read_entry

# what a group of a snapshot of ours has besides hyperparameters
OWN = {"params", "frozen", "options", "weight_decay_mask"}
# what a snapshot has of the optimizer as a whole; one from torch has none of it
SETTINGS = ("clip_global_norm", "skip_nonfinite", "accumulation_steps")
COUNTS = ("steps_taken", "skipped_steps")
Own = Callable[[Any], Any]  # makes a copy, or gives the object itself


# ---- taking one


def take(run: Run, copied: bool = True) -> dict[str, Any]:
    """Take a snapshot; see `samestep.Optimizer.state_dict`. If not ``copied``, it has the run's own
    arrays and schedules, to be written to a file right away."""
    run.settle()
    own = _copier(copied)
    own_array = functools.partial(run.backend.to_numpy, copied=copied)
    state = {}
    for i, (tensor, clock) in enumerate(zip(run.groups.tensors, run.groups.clocks, strict=True)):
        arrays = {name: own_array(a) for name, a in tensor.state.items()}
        state[i] = {"step": clock.step, **clock.carry, **arrays}
    scaler = run.settings.loss_scaler
    return {
        "rule": run.rule.name,
        "state": state,
        "param_groups": [_group(run, k, own) for k in range(len(run.groups.entries))],
        **{name: own(getattr(run.settings, name)) for name in SETTINGS},
        **{name: getattr(run, name) for name in COUNTS},
        "loss_scaler": None if scaler is None else scaler.state_dict(),
        **_accumulated(run, own_array),
    }


def _copier(copied: bool) -> Own:
    """Return a function that copies values, or does not; one object stays one, such as a schedule
    of two groups."""
    memo: dict[int, Any] = {}
    return (lambda value: copy.deepcopy(value, memo)) if copied else (lambda value: value)


def _group(run: Run, k: int, own: Own) -> dict[str, Any]:
    """Return what a snapshot has of one group."""
    members = _members(run, k)
    decays = [run.groups.clocks[i].decays for i in members]
    return {
        **{name: own(run.groups.entries[k][name]) for name in (*run.defaults, "frozen")},
        "options": dict(run.groups.rules[k].options),
        "weight_decay_mask": None if all(decays) else decays,
        "params": members,
    }


def _members(run: Run, k: int) -> list[int]:
    """Return the positions of a group's parameters."""
    return [i for i, clock in enumerate(run.groups.clocks) if clock.group == k]


def _accumulated(run: Run, own_array: Own) -> dict[str, Any]:
    """Return the sums over micro-batches since the last step, if there are any."""
    sums = {}
    if run.micro_steps:
        found = run.stepping.accumulation
        pairs = enumerate(zip(found.sums, found.filled, strict=True))
        sums = {i: own_array(array) for i, (array, filled) in pairs if filled}
    return {"micro_steps": run.micro_steps, "accumulated": sums}


# ---- going on from one


def restore(run: Run, snapshot: Mapping[str, Any], copied: bool = True) -> None:
    """Go on from a snapshot; see `samestep.Optimizer.load_state_dict`.

    Checks everything first, then changes. If not ``copied``, the snapshot's schedules become the
    run's own.
    """
    run.settle()
    own = _copier(copied)
    settings, counts = _checked_whole(run, snapshot, own)
    groups = _checked_groups(run, snapshot, own)
    tensors, clocks = run.groups.tensors, run.groups.clocks
    if unknown := [i for i in snapshot["state"] if i not in range(len(tensors))]:
        raise ValueError(
            f"the state dict has state for parameters {unknown}; this optimizer has {len(tensors)}"
        )
    entries = [_checked_state(run, i, snapshot["state"].get(i)) for i in range(len(tensors))]
    sums = _checked_sums(run, snapshot)

    run.settings, (run.steps_taken, run.skipped_steps) = settings, counts
    for k, (group, (hyper, decays)) in enumerate(zip(run.groups.entries, groups, strict=True)):
        group.update(hyper)
        for i, decays_here in zip(_members(run, k), decays or (), strict=decays is not None):
            clocks[i].decays = decays_here
    for i, (tensor, (step, carry, arrays)) in enumerate(zip(tensors, entries, strict=True)):
        old = clocks[i]
        clocks[i] = Clock(old.rule, old.group, step, carry, old.decays)
        for name, values in arrays.items():
            run.backend.copy_into(tensor.state[name], values)
    run.forget()
    if count := snapshot.get("micro_steps", 0):
        accumulation = run.stepping.accumulation
        accumulation.count = count
        for i, values in sums.items():
            accumulation.filled[i] = True
            run.backend.copy_into(accumulation.sums[i], values)


def _checked_whole(
    run: Run, snapshot: Mapping[str, Any], own: Own
) -> tuple[Settings, tuple[int, int]]:
    """Return the settings and the step counts; as they are, where the snapshot has none."""
    if not isinstance(snapshot, Mapping) or not {"state", "param_groups"} <= set(snapshot):
        raise TypeError("a state dict has 'state' and 'param_groups'")
    names = (*SETTINGS, "loss_scaler")
    found = {n: snapshot[n] if n in snapshot else getattr(run.settings, n) for n in names}
    counts = {n: snapshot[n] if n in snapshot else getattr(run, n) for n in COUNTS}
    for name, count in counts.items():
        if not isinstance(count, int) or count < 0:
            raise ValueError(f"state dict: {name} is {count!r}; expected a whole number")
    if isinstance(found["loss_scaler"], Mapping):
        found["loss_scaler"] = LossScaler(**found["loss_scaler"])
    Settings(**found).at(counts["steps_taken"], "state dict: ")
    found["clip_global_norm"] = own(found["clip_global_norm"])
    return Settings(**found), (counts["steps_taken"], counts["skipped_steps"])


def _checked_groups(
    run: Run, snapshot: Mapping[str, Any], own: Own
) -> list[tuple[dict[str, Any], list[bool] | None]]:
    """Return the hyperparameters of each group, and its weight decay mask."""
    if not isinstance(snapshot["state"], Mapping):
        kind = type(snapshot["state"]).__name__
        raise TypeError(f"state dict: 'state' maps a parameter's position to its state, not {kind}")
    rule = snapshot.get("rule", run.rule.name)
    if rule != run.rule.name:
        raise ValueError(f"the state dict is of rule {rule!r}; this is {run.rule.name!r}")
    given, own_groups = snapshot["param_groups"], run.groups.entries
    if len(given) != len(own_groups):
        raise ValueError(
            f"the state dict has {len(given)} groups; this optimizer {len(own_groups)}"
        )
    steps_taken = snapshot.get("steps_taken", 0)
    return [_checked_group(run, k, group, steps_taken, own) for k, group in enumerate(given)]


def _checked_group(
    run: Run, k: int, group: Any, steps_taken: int, own: Own
) -> tuple[dict[str, Any], list[bool] | None]:
    where, count, rule = f"state dict, group {k}: ", len(_members(run, k)), run.groups.rules[k]
    if not isinstance(group, Mapping) or "params" not in group:
        raise TypeError(f"{where}must be a dict with 'params' and hyperparameters")
    if len(group["params"]) != count:
        raise ValueError(f"{where}{len(group['params'])} parameters, expected {count}")
    told = check_kind(run.rule, group, where)
    hyper = {n: v for n, v in group.items() if n not in OWN | IGNORED | told}
    held, numbers = checked(run.rule, hyper, steps_taken, where)
    options = group.get("options", rule.options)
    if options != rule.options:
        raise ValueError(
            f"{where}has the structural options {options}; "
            f"this optimizer was made with {dict(rule.options)}"
        )
    rule.check_options(numbers, where)
    decays = group.get("weight_decay_mask")
    if decays is not None and (
        len(decays) != count or not all(isinstance(d, bool) for d in decays)
    ):
        raise ValueError(f"{where}weight_decay_mask must be a bool for each parameter")
    # a snapshot of ours without a mask says that all decay; torch's says nothing
    everything = [True] * count if "weight_decay_mask" in group else None
    entry = {**own(held), "frozen": bool(group.get("frozen", False))}
    return entry, everything if decays is None else list(decays)


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
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"state dict: micro_steps is {count!r}; expected a whole number")
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
        "param_groups": run.groups.entries,
        "options": [rule.options for rule in run.groups.rules],
        "snapshot": take(run),
    }


def unpickled(saved: dict[str, Any]) -> Run:
    """Return the run that was pickled."""
    groups, steps_taken = saved["param_groups"], saved["snapshot"]["steps_taken"]
    leaves = [leaf for group in groups for leaf in flatten(group["params"], "params")[0]]
    backend = get_backend(saved["backend"], leaves)
    run = Run(saved["rule"], saved["defaults"], backend, saved["single"], Settings(), steps_taken)
    for group, options in zip(groups, saved["options"], strict=True):
        run.groups.add(group, options, steps_taken)  # momentum may have become zero since
    restore(run, saved["snapshot"])
    return run
