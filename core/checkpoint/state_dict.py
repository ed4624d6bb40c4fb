"""Snapshots of an optimizer, in torch's layout."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choice import get_backend
from ..language.dtypes import dtype_of
from ..parameters.clock import Clock
from ..parameters.groups import Groups
from ..parameters.hyper import checked
from ..protocol import Backend
from ..step.accumulation import RULE as ACCUMULATE
from ..step.loss_scaler import LossScaler
from ..step.settings import Settings
from .torch_layout import IGNORED, check_kind, read_entry

if TYPE_CHECKING:
    from ..optimizers.optimizer import Optimizer

# what a group of a snapshot of ours has besides hyperparameters
OWN = {"params", "frozen", "options", "weight_decay_mask"}
# what a snapshot has of the optimizer as a whole; one from torch has none of it
SETTINGS = ("clip_global_norm", "skip_nonfinite", "accumulation_steps")
COUNTS = ("steps_taken", "skipped_steps")


def take(optimizer: Optimizer, copied: bool = True) -> dict[str, Any]:
    """See `Optimizer.state_dict`. If not ``copied``, the optimizer's own arrays and schedules, to
    be written to a file right away."""
    optimizer._settle()
    state, groups = {}, []
    own = _copier(copied)
    own_array = functools.partial(optimizer.backend.to_numpy, copied=copied)
    for i, (tensor, clock) in enumerate(
        zip(optimizer._groups.tensors, optimizer._groups.clocks, strict=True)
    ):
        arrays = {name: own_array(a) for name, a in tensor.state.items()}
        state[i] = {"step": clock.step, **clock.carry, **arrays}
    for k, group in enumerate(optimizer.param_groups):
        hyper = {name: own(group[name]) for name in (*optimizer.defaults, "frozen")}
        members = [i for i, clock in enumerate(optimizer._groups.clocks) if clock.group == k]
        decays = [optimizer._groups.clocks[i].decays for i in members]
        entries = {
            "options": dict(optimizer._groups.rules[k].options),
            "weight_decay_mask": None if all(decays) else decays,
            "params": members,
        }
        groups.append({**hyper, **entries})
    scaler = optimizer.loss_scaler
    return {
        "rule": optimizer.rule.name,
        "state": state,
        "param_groups": groups,
        **{name: own(getattr(optimizer, name)) for name in (*SETTINGS, *COUNTS)},
        "loss_scaler": None if scaler is None else scaler.state_dict(),
        **_accumulated(optimizer, own_array),
    }


def _copier(copied: bool) -> Callable[[Any], Any]:
    """Copies values, or not; what was one object stays one, such as a schedule of two groups."""
    memo: dict[int, Any] = {}
    return (lambda value: copy.deepcopy(value, memo)) if copied else _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _accumulated(optimizer: Optimizer, own_array: Callable[[Any], Any]) -> dict[str, Any]:
    """The sums over micro-batches since the last step, if there are any."""
    count = optimizer.micro_steps
    sums = {}
    if count:
        accumulation = optimizer._stepping.accumulation
        for i, (array, filled) in enumerate(
            zip(accumulation.sums, accumulation.filled, strict=True)
        ):
            if filled:
                sums[i] = own_array(array)
    return {"micro_steps": count, "accumulated": sums}


def restore(optimizer: Optimizer, snapshot: Mapping[str, Any], copied: bool = True) -> None:
    """See `Optimizer.load_state_dict`. Checks everything first, then changes. If not ``copied``,
    the snapshot's schedules become the optimizer's own."""
    optimizer._settle()
    own = _copier(copied)
    whole = _checked_whole(optimizer, snapshot, own)
    groups = _checked_groups(optimizer, snapshot, own)
    if unknown := [i for i in snapshot["state"] if i not in range(len(optimizer._groups.tensors))]:
        raise ValueError(
            f"the state dict has state for parameters {unknown}; "
            f"this optimizer has {len(optimizer._groups.tensors)}"
        )
    entries = []
    for i, tensor in enumerate(optimizer._groups.tensors):
        entries.append(_checked_state(optimizer, i, tensor, snapshot["state"].get(i)))
    sums = _checked_sums(optimizer, snapshot)
    for name, value in whole.items():
        setattr(optimizer, name, value)
    for k, (group, (hyper, decays)) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        group.update(hyper)
        members = [clock for clock in optimizer._groups.clocks if clock.group == k]
        if decays is not None:
            for clock, decays_here in zip(members, decays, strict=True):
                clock.decays = decays_here
    for i, (tensor, (step, carry, arrays)) in enumerate(
        zip(optimizer._groups.tensors, entries, strict=True)
    ):
        old = optimizer._groups.clocks[i]
        optimizer._groups.clocks[i] = Clock(old.rule, old.group, step, carry, old.decays)
        for name, values in arrays.items():
            optimizer.backend.copy_into(tensor.state[name], values)
    optimizer._forget()
    if count := snapshot.get("micro_steps", 0):
        accumulation = optimizer._stepping.accumulation
        accumulation.count = count
        for i, values in sums.items():
            accumulation.filled[i] = True
            optimizer.backend.copy_into(accumulation.sums[i], values)


def _checked_whole(
    optimizer: Optimizer, snapshot: Mapping[str, Any], own: Callable[[Any], Any]
) -> dict[str, Any]:
    """What belongs to the optimizer as a whole; as it is, where the snapshot has none of it."""
    if not isinstance(snapshot, Mapping) or not {"state", "param_groups"} <= set(snapshot):
        raise TypeError("a state dict has 'state' and 'param_groups'")
    names = (*SETTINGS, *COUNTS, "loss_scaler")
    found = {n: snapshot[n] if n in snapshot else getattr(optimizer, n) for n in names}
    for name in COUNTS:
        if not isinstance(found[name], int) or found[name] < 0:
            raise ValueError(f"state dict: {name} is {found[name]!r}; expected a whole number")
    if isinstance(found["loss_scaler"], Mapping):
        found["loss_scaler"] = LossScaler(**found["loss_scaler"])
    settings = Settings(**{name: found[name] for name in (*SETTINGS, "loss_scaler")})
    settings.at(found["steps_taken"], "state dict: ")
    found["clip_global_norm"] = own(found["clip_global_norm"])
    return found


def _checked_sums(optimizer: Optimizer, snapshot: Mapping[str, Any]) -> dict[int, Any]:
    count, sums = snapshot.get("micro_steps", 0), snapshot.get("accumulated", {})
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"state dict: micro_steps is {count!r}; expected a whole number")
    if not isinstance(sums, Mapping) or (sums and not count):
        raise ValueError("state dict: accumulated maps positions to sums over micro_steps > 0")
    result = {}
    for i, values in sums.items():
        if i not in range(len(optimizer._groups.tensors)):
            raise ValueError(f"state dict: accumulated has a parameter {i!r}, which does not exist")
        tensor = optimizer._groups.tensors[i]
        like = optimizer.backend.new_state(tensor, ACCUMULATE, {})["grad_sum"]
        where = f"state dict, {tensor.name}: accumulated"
        result[i] = _checked_array(optimizer.backend, values, like, where)
    return result


def pickled(optimizer: Optimizer) -> dict[str, Any]:
    """What pickle and deepcopy keep of an optimizer."""
    return {
        "rule": optimizer.rule,
        "defaults": optimizer.defaults,
        "backend": optimizer.backend.name,
        "single": optimizer._groups.single,
        "param_groups": optimizer.param_groups,
        "options": [rule.options for rule in optimizer._groups.rules],
        "snapshot": take(optimizer),
    }


def unpickle(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Make of a bare object the optimizer that was pickled."""
    optimizer.rule, optimizer.defaults = saved["rule"], saved["defaults"]
    optimizer.backend = get_backend(saved["backend"])
    steps_taken = saved["snapshot"]["steps_taken"]
    optimizer._begin(Settings(), steps_taken)
    own = (optimizer.rule, optimizer.defaults, optimizer.backend, saved["single"])
    optimizer._groups = Groups(*own)
    for group, options in zip(saved["param_groups"], saved["options"], strict=True):
        optimizer._groups.add(group, options, steps_taken)  # momentum may have become zero since
    optimizer._forget()
    restore(optimizer, saved["snapshot"])


def _checked_groups(
    optimizer: Optimizer, snapshot: Mapping[str, Any], own: Callable[[Any], Any]
) -> list[tuple[dict[str, Any], list[bool] | None]]:
    """The hyperparameters of each group, and its weight decay mask."""
    if not isinstance(snapshot["state"], Mapping):
        kind = type(snapshot["state"]).__name__
        raise TypeError(f"state dict: 'state' maps a parameter's position to its state, not {kind}")
    rule = snapshot.get("rule", optimizer.rule.name)
    if rule != optimizer.rule.name:
        raise ValueError(f"the state dict is of rule {rule!r}; this is {optimizer.rule.name!r}")
    given = snapshot["param_groups"]
    if len(given) != len(optimizer.param_groups):
        raise ValueError(
            f"the state dict has {len(given)} groups; this optimizer {len(optimizer.param_groups)}"
        )
    result = []
    for k, group in enumerate(given):
        where = f"state dict, group {k}: "
        members = [i for i, clock in enumerate(optimizer._groups.clocks) if clock.group == k]
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"{where}must be a dict with 'params' and hyperparameters")
        if len(group["params"]) != len(members):
            raise ValueError(f"{where}{len(group['params'])} parameters, expected {len(members)}")
        told = check_kind(optimizer.rule, group, where)
        hyper = {n: v for n, v in group.items() if n not in OWN | IGNORED | told}
        held, numbers = checked(optimizer.rule, hyper, snapshot.get("steps_taken", 0), where)
        options = group.get("options", optimizer._groups.rules[k].options)
        if options != optimizer._groups.rules[k].options:
            raise ValueError(
                f"{where}has the structural options {options}; "
                f"this optimizer was made with {dict(optimizer._groups.rules[k].options)}"
            )
        optimizer._groups.rules[k].check_options(numbers, where)
        decays = group.get("weight_decay_mask")
        if decays is not None and (
            len(decays) != len(members) or not all(isinstance(d, bool) for d in decays)
        ):
            raise ValueError(f"{where}weight_decay_mask must be a bool for each parameter")
        entry = {**own(held), "frozen": bool(group.get("frozen", False))}
        # a snapshot of ours without a mask says that all decay; torch's says nothing
        everything = [True] * len(members) if "weight_decay_mask" in group else None
        result.append((entry, everything if decays is None else list(decays)))
    return result


def _checked_state(
    optimizer: Optimizer, i: int, tensor: Any, entry: Mapping[str, Any] | None
) -> tuple[int, dict[str, float], dict[str, Any]]:
    group, rule = optimizer._groups.clocks[i].group, optimizer._groups.clocks[i].rule
    where = f"state dict, {tensor.name}: "
    found = read_entry(rule, entry or {}, where)
    if found is None:
        hyper = optimizer.current_hyperparameters()[group]
        return 0, dict(rule.carry), optimizer.backend.new_state(tensor, rule, hyper)
    step, carry, values = found
    arrays = {}
    for name in rule.state:
        like = tensor.state[name]
        arrays[name] = _checked_array(optimizer.backend, values[name], like, f"{where}{name}")
    return step, carry, arrays


def _checked_array(backend: Backend, values: Any, like: Any, name: str) -> Any:
    values, dtype = backend.to_numpy(values, copied=False), dtype_of(like)
    if values.shape != like.shape:
        raise ValueError(f"{name} has shape {values.shape}; expected {tuple(like.shape)}")
    if values.dtype.kind in "OSU" or not np.can_cast(values.dtype, dtype, "same_kind"):
        raise TypeError(f"{name} has dtype {values.dtype}; expected {dtype}")
    return values
