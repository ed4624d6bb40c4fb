"""Snapshots of a run, in torch's layout."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..language.around import STRUCTURAL
from ..language.codecs import StateDtype, checked_state_dtype
from ..language.dtypes import dtype_of
from ..language.hyperparameters import check_options
from ..language.intervals import plain
from ..parameters.copies import kept_state, refresh_copies
from ..parameters.entries import name_entry
from ..parameters.hyper import as_held, numbers_at
from ..parameters.names import dotted_names
from ..protocol import Backend
from ..step.accumulation import RULE as ACCUMULATE
from ..step.evaluation import MODE, is_evaluating
from ..step.loss_scaler import LossScaler
from ..step.run import Run
from ..step.settings import Settings
from .fitted import fitted
from .recoded import recoded
from .torch_layout import IGNORED, MOST_STEPS, layout_of, read_entry

# what a group of a snapshot of ours has besides hyperparameters
OWN = {"params", "rule", "frozen", "options", "weight_decay_mask", "name"}
# what a snapshot has of the optimizer as a whole; one from torch has none of it
SETTINGS = ("clip_global_norm", "skip_nonfinite", "accumulation_steps", "cast_gradients")
STRUCTURE: Mapping[str, Any] = {"state_dtype": None, "rounding": "nearest", **STRUCTURAL}
COUNTS = ("steps_taken", "skipped_steps")


def structure_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a snapshot's group its state and kernels depend on, besides the options."""
    return {name: group.get(name, without) for name, without in STRUCTURE.items()}


# ---- taking one


def take(run: Run, copied: bool = True) -> dict[str, Any]:
    """Take a snapshot; see `samestep.Optimizer.state_dict`. If not ``copied``, it has the run's own
    arrays and schedules, to be written right away to a file, which names parameters itself."""
    run.settle()
    own = functools.partial(run.backend.to_numpy, copied=copied)
    state, sums = {}, {}
    for i, (tensor, clock) in enumerate(zip(run.groups.tensors, run.groups.clocks, strict=True)):
        arrays = {name: own(array) for name, array in kept_state(tensor).items()}
        state[i] = {"step": clock.step, **clock.carry, **arrays}
    if run.micro_steps:
        found = run.stepping.accumulation
        pairs = enumerate(zip(found.sums, found.filled, strict=True))
        sums = {i: own(array) for i, (array, filled) in pairs if filled}
    scaler = run.settings.loss_scaler
    members = _members(run)
    groups = [_group(run, k, positions) for k, positions in enumerate(members)]
    if copied:
        for group, names in zip(groups, _names(run, members), strict=True):
            group |= {} if names is None else {"param_names": names}
    snapshot = {
        "rule": run.rule.name,
        "state": state,
        "param_groups": groups,
        **{name: getattr(run.settings, name) for name in SETTINGS},
        **{name: getattr(run, name) for name in COUNTS},
        "loss_scaler": None if scaler is None else scaler.state_dict(),
        "micro_steps": run.micro_steps,
        "accumulated": sums,
    }
    return _with_own_schedules(snapshot) if copied else snapshot


def _group(run: Run, k: int, positions: list[int]) -> dict[str, Any]:
    """Return what a snapshot has of one group, with parameters at these positions."""
    decays = [run.groups.clocks[i].decays for i in positions]
    entry, rule = run.groups.entries[k], run.groups.families[k]
    return {
        **{name: plain(entry[name]) for name in (*rule.known_hyperparameters, "frozen")},
        "copy_to": None,  # arrays of the caller's
        **name_entry(entry),
        **({} if rule is run.rule else {"rule": rule.name}),
        "options": dict(run.groups.rules[k].options),
        "weight_decay_mask": None if all(decays) else decays,
        "params": positions,
        **({} if rule.average_share is None else {MODE: run.evaluating}),
    }


def _members(run: Run) -> list[list[int]]:
    """Return the positions of each group's parameters."""
    members: list[list[int]] = [[] for _ in run.groups.entries]
    for i, clock in enumerate(run.groups.clocks):
        members[clock.group].append(i)
    return members


def _names(run: Run, members: list[list[int]]) -> list[list[str] | None]:
    """Return the names of each group's parameters in a snapshot, None for a group without."""
    return [
        dotted_names(spec, [run.groups.tensors[i].name for i in positions])
        for spec, positions in zip(run.groups.specs, members, strict=True)
    ]


def _with_own_schedules(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Return the snapshot with copies of its schedules; one of two groups stays one."""
    shared = {n: snapshot[n] for n in ("param_groups", "clip_global_norm") if n in snapshot}
    return {**snapshot, **copy.deepcopy(shared)}


# ---- going on from one


def restore(run: Run, snapshot: Mapping[str, Any], copied: bool = True) -> None:
    """Go on from a snapshot; see `samestep.Optimizer.load_state_dict`.

    Checks everything first, then changes. If not ``copied``, the snapshot's schedules become the
    run's own, and its arrays are the run's own already.
    """
    run.check_own()
    run.settle()
    tensors, clocks = run.groups.tensors, run.groups.clocks
    members = _members(run)
    sizes, names = list(map(len, members)), _names(run, members)
    snapshot = fitted(snapshot, run.groups.families, sizes, names)
    keys = [key for group in snapshot["param_groups"] for key in group["params"]]
    known = set(keys)
    if unknown := [key for key in snapshot["state"] if key not in known]:
        raise ValueError(
            f"the state dict has state for parameters {unknown}; this optimizer has {len(tensors)}"
        )
    if copied:
        snapshot = _with_own_schedules(snapshot)
    settings, counts = _checked_settings(run, snapshot)
    groups = [_checked_group(run, k, members[k], snapshot) for k in range(len(members))]
    numbers = run.groups.numbers(run.steps_taken)
    codecs = [_codecs_of(group, k) for k, group in enumerate(snapshot["param_groups"])]
    entries = [
        _checked_state(run, i, snapshot["state"].get(key), numbers, codecs)
        for i, key in enumerate(keys)
    ]
    if copied:
        entries = _kept_apart(run, entries)
    sums = _checked_sums(run, snapshot, keys)

    own = run.settings.loss_scaler
    if own is not None and settings.loss_scaler is not None:  # whoever shares it keeps it
        own.load_state_dict(settings.loss_scaler.state_dict())
        settings = replace(settings, loss_scaler=own)
    run.settings, (run.steps_taken, run.skipped_steps) = settings, counts
    run.evaluating = is_evaluating(snapshot["param_groups"])
    for k, (group, (hyper, decays)) in enumerate(zip(run.groups.entries, groups, strict=True)):
        group.update(hyper)
        for i, decays_here in zip(members[k], decays, strict=True):
            clocks[i].decays = decays_here
    for i, (tensor, (step, carry, arrays)) in enumerate(zip(tensors, entries, strict=True)):
        clocks[i] = replace(clocks[i], step=step, carry=carry)
        for name, values in arrays.items() if copied else ():
            run.backend.copy_into(tensor.state[name], values)
    refresh_copies(run.backend, tensors)
    run.forget()
    if count := snapshot.get("micro_steps", 0):
        accumulation = run.stepping.accumulation
        accumulation.count = count
        for i, values in sums.items():
            accumulation.filled[i] = True
            run.backend.copy_into(accumulation.sums[i], values)


def _checked_settings(run: Run, snapshot: Mapping[str, Any]) -> tuple[Settings, list[int]]:
    """Return the settings and the step counts; as they are, where the snapshot has none."""
    names = (*SETTINGS, "loss_scaler")
    found = {name: snapshot.get(name, getattr(run.settings, name)) for name in names}
    counts = {name: snapshot.get(name, getattr(run, name)) for name in COUNTS}
    for name, count in {**counts, "micro_steps": snapshot.get("micro_steps", 0)}.items():
        if type(count) is not int or not 0 <= count < MOST_STEPS:
            raise ValueError(
                f"state dict: {name} is {count!r}; expected a whole number below 2**53"
            )
    if isinstance(found["loss_scaler"], Mapping):
        found["loss_scaler"] = LossScaler(**found["loss_scaler"])
    settings = Settings(**found)
    settings.at(counts["steps_taken"], "state dict: ")
    return settings, list(counts.values())


def _checked_group(
    run: Run, k: int, positions: Sequence[int], snapshot: Mapping[str, Any]
) -> tuple[dict[str, Any], list[bool]]:
    """Return the hyperparameters of a group, and its weight decay mask."""
    group, where = snapshot["param_groups"][k], f"state dict, group {k}: "
    own, rule = [run.groups.clocks[i].decays for i in positions], run.groups.rules[k]
    family = run.groups.families[k]
    others = OWN | IGNORED | {MODE} | layout_of(family).kind.keys()
    hyper = {name: value for name, value in group.items() if name not in others}
    # arrays stay what they are: values are rounded to them, and parts keep what they keep
    storage = {"state_dtype": rule.state_dtype, "rounding": rule.rounding}
    hyper |= {**storage, **STRUCTURAL, **rule.around}
    numbers = numbers_at(family, hyper, snapshot.get("steps_taken", 0), where)
    options = group.get("options", rule.options)
    if options != rule.options:
        raise ValueError(
            f"{where}has the structural options {options}; "
            f"this optimizer was made with {dict(rule.options)}"
        )
    check_options(rule, numbers, where)
    decays = group.get("weight_decay_mask", own)  # torch's says nothing of it
    if decays is None:
        decays = [True] * len(own)
    if len(decays) != len(own) or not all(isinstance(each, bool) for each in decays):
        raise ValueError(
            f"{where}weight_decay_mask must be a bool for each of {len(own)} parameters, not {decays!r:.80}"
        )
    held = {
        **as_held(hyper, numbers),
        "frozen": bool(group.get("frozen", False)),
        **name_entry(group),
    }
    return held, list(decays)


def _codecs_of(group: Mapping[str, Any], k: int) -> StateDtype:
    """Return the ``state_dtype`` that a group of the snapshot was stored with. Raises TypeError or
    ValueError for what is none."""
    return checked_state_dtype(group.get("state_dtype"), f"state dict, group {k}: ")


def _checked_state(
    run: Run,
    i: int,
    entry: Mapping[str, Any] | None,
    numbers: Sequence[dict[str, Any]],
    codecs: Sequence[StateDtype],
) -> tuple[int, dict[str, float], dict[str, Any]]:
    """Return the step count, carry and arrays of one parameter; fresh ones if it has no entry.
    ``numbers`` are each group's hyperparameters, ``codecs`` what its states were stored with."""
    tensor, clock = run.groups.tensors[i], run.groups.clocks[i]
    where = f"state dict, {tensor.name}: "
    saved = clock.rule.stored_as(codecs[clock.group])
    found = read_entry(saved, entry or {}, where)
    step, carry, values = (0, dict(clock.rule.carry), {}) if found is None else found
    as_array = functools.partial(run.backend.to_numpy, copied=False)
    values = recoded(values, saved, clock.rule, tensor.shape, as_array, where)
    kept = kept_state(tensor)
    if len(values) < len(kept):
        fresh = run.backend.new_state(tensor, clock.rule, numbers[clock.group])
        values = {**{n: as_array(a) for n, a in fresh.items()}, **values}
    arrays = {
        name: _checked_array(run.backend, values[name], array, f"{where}{name}")
        for name, array in kept.items()
    }
    return step, carry, arrays


def _kept_apart(
    run: Run, entries: Sequence[tuple[int, dict[str, float], dict[str, Any]]]
) -> list[tuple[int, dict[str, float], dict[str, Any]]]:
    """Return the entries, copies of arrays that lie in the run's own state among them: it is
    written to one after the other."""
    own = [array for tensor in run.groups.tensors for array in tensor.state.values()]
    given = [values for _, _, arrays in entries for values in arrays.values()]
    kept = iter(run.backend.apart(given, own))
    return [(step, carry, dict(zip(arrays, kept, strict=False))) for step, carry, arrays in entries]


def _checked_sums(run: Run, snapshot: Mapping[str, Any], keys: Sequence[Any]) -> dict[int, Any]:
    count, sums = snapshot.get("micro_steps", 0), snapshot.get("accumulated", {})
    if not isinstance(sums, Mapping) or (sums and not count):
        raise ValueError("state dict: accumulated maps positions to sums over micro_steps > 0")
    result, position = {}, {key: i for i, key in enumerate(keys)}
    for key, values in sums.items():
        if key not in position:
            raise ValueError(
                f"state dict: accumulated has a parameter {key!r}, which does not exist"
            )
        i = position[key]
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
