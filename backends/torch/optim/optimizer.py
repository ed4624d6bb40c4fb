"""A ``torch.optim.Optimizer`` that takes its steps by a samestep rule.

Groups, state, hooks and checkpoints are torch's; the step is that of `samestep.Optimizer`.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

import torch

from ....checkpoint.torch_layout import layout_of
from ....choice import get_backend
from ....interrupts import held, hold, holding, release
from ....language.around import CARRIED
from ....language.rule import Rule
from ....language.text_checks import check
from ....pages import see
from ....parameters.entries import check_one_rule
from ....parameters.hyper import GroupHyper
from ....protocol import Backend
from ....rules import find_rule
from ....step.evaluation import MODE, is_evaluating, refuse_step
from ....step.one_thread import OneThread
from ...launching.initial_state import check_parameter
from ...torch_tensors.tracing import refuse_traced
from ...torch_tensors.view import kind_of
from . import averages
from .eager import not_compiled
from .grad_scaler import settings_now, takes_scale
from .groups import (
    Slot,
    all_numbers,
    all_slots,
    device_of,
    numbers_of,
    plain,
    rules_of,
    slots_of,
    waits,
)
from .load import in_own_order, loaded_groups, loaded_state
from .parts import Parts
from .shards import check_rule, local, placed

WHAT = "an optimizer of samestep.torch"


class Optimizer(torch.optim.Optimizer):
    """Updates parameters by a rule, wherever a ``torch.optim.Optimizer`` can stand.

    ``state[p]`` has the tensors that are stepped, under torch's names, from the first gradient of
    ``p`` on. What is written there, or into ``param_groups``, counts from the next step on.

    Parameters
    ----------
    rule : Rule or str
        A rule, your own included, or the name of a built-in one.
    params : iterable
        Parameters, named parameters, or dicts of them with hyperparameters of their own, on one
        device or several. Those of a
        module that are frozen, of whatever dtype, and those that a lazy module has not made yet
        are looked at when they have a gradient.
    backend : str, optional
        Such as ``"torch:foreach"`` or ``"numba"``; without it, see `samestep.get_backend`.
    foreach, fused : bool, optional
        As torch has them: ``foreach=True`` is ``"torch:foreach"``; ``fused=True`` is
        ``"torch:fused"``, and lets a GradScaler leave its scale to the launch; False for one of
        them and nothing else is ``"torch:forloop"``. The bits are the same.
    capturable, differentiable : bool
        Must be False: what is equal for all elements is computed on the host, so replays of a captured
        step alone would repeat its scalars. A step is captured without it, see `prepare`.
    warn_lost_updates : bool
        As of `samestep.Optimizer`.
    **hyper
        Hyperparameters and structural options of the rule: numbers, or tensors of one element.

    Raises
    ------
    TypeError, ValueError
        For parameters or hyperparameters that cannot be used, before anything is changed. The
        message names the parameter, what came and what was expected.
    RuntimeError
        If several implementations are asked for, or one that cannot run here.
    """

    def __init__(
        self,
        rule: Rule | str,
        params: Any,
        *,
        backend: str | None = None,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        warn_lost_updates: bool = True,
        **hyper: Any,
    ) -> None:
        self.rule, self._alone = find_rule(rule), OneThread()
        self.warn_lost_updates = bool(warn_lost_updates)
        self._swapped: list[bool] = []  # not empty: averages are in the places of the parameters
        if capturable or differentiable:
            asked = "capturable" if capturable else "differentiable"
            remedy = "; a step is captured without it, by prepare()" if capturable else ""
            raise ValueError(
                f"{asked}=True is not supported: a step's scalars are the host's{remedy}"
                f"{see('torch.md#on-a-cuda-device')}"
            )
        self.rule.hyperparameters(plain(hyper))
        self._backend_name = chosen_backend(backend, foreach, fused)
        defaults = {**self.rule.known_hyperparameters, **hyper}
        flags = dict(foreach=foreach, fused=fused, capturable=False, differentiable=False)
        super().__init__(params, {**defaults, **flags})

    def _forget(self) -> None:
        """Look at everything anew at the next step; parameters may be elsewhere by then."""
        self._parts: Parts | None = None
        self._backends: dict[torch.device, Backend] = {}
        params = list(chain.from_iterable(group["params"] for group in self.param_groups))
        ready = [param for param in params if not waits(param)] or params
        if ready:
            self.backend = self._backend_of(ready[0])
            self._backend_name = self.backend.name
        else:  # the parameters that come decide
            self.backend = get_backend(self._backend_name)

    def _backend_of(self, param: torch.Tensor) -> Backend:
        """Return the backend of the device that the parameter is on."""
        device = device_of(param)
        if device not in self._backends:
            self._backends[device] = get_backend(self._backend_name, [param])
        return self._backends[device]

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """True if torch's GradScaler may leave its scale to the step: with ``fused=True``, as in torch,
        and on a device whose kernels take it from where it is. For others gradients are unscaled before
        the step."""
        return bool(self.defaults["fused"]) or any(map(takes_scale, self._backends.values()))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; a group with an error is not added."""
        refuse_traced("making an optimizer")
        check_one_rule(self.rule, [param_group], WHAT, len(self.param_groups))
        super().add_param_group(param_group)
        try:
            self._check_last_group()
        except BaseException:
            self.param_groups.pop()
            raise

    def _check_last_group(self) -> None:
        self._forget()
        groups, last = self.param_groups, len(self.param_groups) - 1
        numbers = numbers_of(self.rule, groups, last)
        (rule,) = rules_of(self.rule, [numbers], ())
        check(rule)
        slots = [slot for slot in slots_of(groups, last, self.state) if not waits(slot.param)]
        adopted: dict[torch.device, list[Any]] = {}
        for slot in slots:
            tensor = self._adopted(slot, rule, numbers)
            adopted.setdefault(device_of(slot.param), []).append(tensor)
        for device, tensors in adopted.items():
            self._backends[device].check_overlap(tensors)
        if layout_of(self.rule).from_the_start:
            for slot in slots:
                self.state[slot.param] = self._first_entry(slot, rule, numbers)

    def _adopted(self, slot: Slot, rule: Rule, numbers: dict[str, Any]) -> Any:
        """Return a parameter as the backend adopts it; raise TypeError or ValueError for one that
        cannot be stepped by the rule."""
        tensor = self._backend_of(slot.param).adopt(slot.name, local(slot.param))
        check_rule(slot.name, slot.param, rule, GroupHyper(numbers).clips)
        shaped = rule.for_shape(tensor.shape)
        check(shaped)
        check_parameter(tensor, shaped)
        return tensor

    # ---- stepping

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient. Those without neither move nor advance. A
        gradient may be sparse, of some rows, see `samestep.step.indexed_slices`.

        Parameters
        ----------
        closure : callable, optional
            Computes the gradients anew and returns the loss, which is then returned.

        Raises
        ------
        TypeError, ValueError
            For gradients, state or hyperparameters that cannot be used; parameters, state and
            step counts are then what they were.
        RuntimeError
            If the processor has been switched to flush subnormal numbers to zero, or to round
            otherwise than to nearest; if another thread is using this optimizer; or inside of what
            is traced. What `torch.compile` makes calls it between two graphs.
        """
        return self._step(closure)  # PyTorch 2.8 compiles a disabled method without its self

    @not_compiled
    def _step(self, closure: Callable[[], Any] | None) -> Any:
        loss = None
        if closure is not None:
            refuse_traced("a step")
            loss = with_grad(closure)
        with self._alone:
            outermost = not holding()
            try:
                hold()
                with torch.no_grad():
                    self._advance()
            finally:
                if outermost:
                    release()
        return loss

    def prepare(self) -> None:
        """Hand the next step's scalars to a step that was captured in a CUDA graph, and count it;
        call it before each replay of the graph.

        Raises RuntimeError if no step of these parameters was captured.
        """
        parts = self._parts
        if parts is None:
            raise RuntimeError(
                "prepare: no step of these parameters and options was captured yet"
                f"{see('torch.md#on-a-cuda-device')}"
            )
        with held(), self._alone, torch.no_grad():
            parts.settle()
            parts.prepare(self.param_groups)

    def eval(self) -> None:
        """Turn the parameters, in place, into the average of the steps so far, for evaluation; no step is
        taken then. For rules that keep one (``Rule.average_share``); with others it does nothing,
        since training loops call it on every optimizer that has it.
        """
        self._change_mode(True)

    def train(self) -> None:
        """Turn the parameters back into those that steps are taken from, which they are at first.

        Each way rounds once: after `eval` and `train` a parameter may differ in its last place.
        """
        self._change_mode(False)

    def _change_mode(self, evaluating: bool) -> None:
        if self.rule.average_share is None:
            return
        averages.check_own(self._swapped)
        groups = self.param_groups
        if is_evaluating(groups) == evaluating:
            return
        with held(), self._alone, torch.no_grad():
            self._look_again()
            if self._parts is None:
                self._parts = Parts(self._backend_of, self.rule, groups, self.state)
            self._parts.change_mode(groups, evaluating)
            for group in groups:
                group[MODE] = evaluating

    def _look_again(self) -> list[torch.Tensor]:
        """Forget everything about parameters and state that are not what they were; return the
        parameters."""
        self._settle()
        params = list(chain.from_iterable(group["params"] for group in self.param_groups))
        if not (self._parts and self._parts.unchanged(params, self.state)):
            self._forget()
        return params

    def _advance(self) -> None:
        averages.check_own(self._swapped)
        groups = self.param_groups
        if self.rule.average_share is not None and is_evaluating(groups):
            refuse_step()
        params = self._look_again()
        parts, grads = self._parts, [p.grad for p in params]
        absent = range(len(params)) if parts is None else parts.absent
        missing = [i for i in absent if grads[i] is not None]
        if missing or parts is None:
            refuse_traced("a step")  # else the check of gradients does
            if any(backend.capturing() for backend in self._backends.values()):
                raise RuntimeError(
                    "a step must be taken before one is captured, with the same parameters and "
                    f"options{see('torch.md#on-a-cuda-device')}"
                )
        # `state` gets these when the step is taken: one that fails leaves none behind
        begun = self._first_entries(missing)
        if parts is None or begun:
            parts = Parts(self._backend_of, self.rule, groups, {**self.state, **begun})
        if parts.step(groups, grads, functools.partial(settings_now, self)):
            self.state.update(begun)
            self._parts = parts

    def _first_entries(self, positions: Sequence[int]) -> dict[torch.Tensor, dict[str, Any]]:
        """Return entries of ``state`` from which the parameters at these positions that have none take
        their first step."""
        if not positions:
            return {}
        slots = all_slots(self.param_groups, self.state)
        numbers = all_numbers(self.rule, self.param_groups)
        rules = rules_of(self.rule, numbers, [slot for slot in slots if slot.has_state])
        return {
            slot.param: self._first_entry(slot, rules[slot.group], numbers[slot.group])
            for slot in (slots[i] for i in positions)
            if not slot.has_state
        }

    def _first_entry(self, slot: Slot, rule: Rule, numbers: dict[str, Any]) -> dict[str, Any]:
        tensor = self._adopted(slot, rule, numbers)
        rule = rule.for_shape(tensor.shape)
        counts = {"step": 0.0, **rule.carry}
        backend = self._backend_of(slot.param)
        arrays = backend.new_state(tensor, rule, numbers)
        for name, array in arrays.items():
            if not isinstance(array, torch.Tensor):
                raise TypeError(
                    f"backend {backend.name!r} has the state {name} of {tensor.name} as a "
                    f'{kind_of(array)}; expected a tensor ("torch:fused" runs the same kernels)'
                )
        return {
            **slot.entry,
            **{n: torch.tensor(value, dtype=torch.float64) for n, value in counts.items()},
            **{n: placed(n, array, slot.param, rule) for n, array in arrays.items()},
        }

    def averaged(self) -> list[list[torch.Tensor]]:
        """Return the averages of the parameters, a list for each group: new tensors, of float32 for
        16-bit parameters.

        A parameter without a step that counts, or whose group keeps no average, is its own. Raises
        ValueError if no group keeps one: they are asked for by ``average="ema"`` or "mean".
        """
        self._settle()
        return averages.averaged(self)

    def averages(self) -> AbstractContextManager[None]:
        """Have the averages in the places of the parameters, for evaluation: ``with opt.averages():``.

        Afterwards, and after an exception, parameters are what they were. Meanwhile a step and
        pickling raise RuntimeError. Raises as `averaged` does.
        """
        self._settle()
        return averages.averages(self, self._swapped)

    def _settle(self) -> None:
        """Count the last step, if that has not been done. A device may have to be waited for."""
        if self._parts:
            self._parts.settle()

    # ---- checkpoints and copies

    @not_compiled
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state dict of this optimizer's, of torch's optimizer of the same name, or
        of a `samestep.Optimizer` on any backend. Its tensors are copied. Parameters are found by
        their names where both have ``param_names`` (torch goes by position), else by position.

        Raises TypeError or ValueError if it does not fit; nothing is changed then.
        """
        refuse_traced("loading a state dict")
        state_dict = state_dict.copy()
        for pre_hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = pre_hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        with held(), self._alone:
            self._forget()
            state_dict = in_own_order(self.rule, self.param_groups, state_dict)
            groups = loaded_groups(self.param_groups, state_dict)
            state = loaded_state(self.rule, groups, state_dict)
            parts = Parts(self._backend_of, self.rule, groups, state)
            self.state, self.param_groups, self._parts = state, groups, parts
        for post_hook in self._optimizer_load_state_dict_post_hooks.values():
            post_hook(self)

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state dict, with the last step counted: that may wait for a device."""
        with self._alone:
            self._settle()
            return super().state_dict()

    def __getstate__(self) -> dict[str, Any]:
        averages.check_own(self._swapped)
        self._settle()
        saved = super().__getstate__()
        # step counts are views of one vector: each on its own, the vector is not saved with each
        counts = {"step", *CARRIED, *self.rule.carry, *layout_of(self.rule).scalars}
        state = defaultdict(dict, {k: _unshared(e, counts) for k, e in self.state.items()})
        return {
            **saved,
            "state": state,
            "rule": self.rule,
            "warn_lost_updates": self.warn_lost_updates,
            "backend": self._backend_name,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._backend_name, self._alone, self._swapped = state["backend"], OneThread(), []
        self._forget()


def chosen_backend(backend: str | None, foreach: bool | None, fused: bool | None) -> str | None:
    """Return the name of the backend that these arguments ask for; None for no choice.

    Raises RuntimeError, as torch does, if they ask for several.
    """
    if foreach and fused:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together")
    if foreach is None and fused is None:
        return backend
    if backend is not None:
        raise RuntimeError(f"backend={backend!r} and `foreach` or `fused` both choose one")
    if foreach or fused:
        return "torch:foreach" if foreach else "torch:fused"
    return "torch:forloop"


def with_grad(closure: Callable[[], Any]) -> Any:
    """The loss, computed with autograd switched on. The closure is the user's and may take long,
    so an interrupt does not wait for it."""
    if torch.is_grad_enabled():
        return closure()
    with held() as interrupts, torch.enable_grad():
        return interrupts.outside(closure)


def _unshared(entry: Any, counts: set[str]) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {
        name: value.clone() if name in counts and isinstance(value, torch.Tensor) else value
        for name, value in entry.items()
    }
