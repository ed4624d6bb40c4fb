"""A ``torch.optim.Optimizer`` that takes its steps by a samestep rule.

Groups, state, hooks and checkpoints are torch's; the step is that of `samestep.Optimizer`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch

from ....checkpoint.torch_layout import layout_of
from ....interrupts import held, hold, holding, release
from ....language.rule import Rule
from ....pages import see
from ....parameters.entries import is_group
from ....parameters.keywords import check_read_by_new
from ....rules import find_rule
from ....step.evaluation import is_evaluating, refuse_step
from ....step.one_thread import OneThread
from ....step.swapped import check_own
from ...torch_tensors.tracing import refuse_traced
from .backends import Backends, chosen_backend
from .copies import dtype_of_copies, refresh, tensors_of
from .eager import not_compiled
from .first_state import Entries, check_slots, first_entries, first_entry
from .grad_scaler import settings_now, takes_scale
from .group_rules import GroupRules
from .groups import (
    RULE,
    all_numbers,
    all_slots,
    check_entries,
    numbers_of,
    slots_of,
    variant,
    waits,
    where,
)
from .modes import Modes
from .parts import Parts
from .state_dicts import StateDicts


class Optimizer(Modes, StateDicts):
    """Updates parameters by a rule, wherever a ``torch.optim.Optimizer`` can stand.

    ``state[p]`` has the tensors that are stepped, under torch's names, from the first gradient of
    ``p`` on. What is written there, or into ``param_groups``, counts from the next step on.

    Parameters
    ----------
    rule : Rule or str
        A rule, your own included, or the name of a built-in one.
    params : iterable
        Parameters, named parameters, or dicts of them with hyperparameters of their own, and with
        ``"rule"`` another rule, on one device or several. Those of a module that are frozen, of
        whatever dtype, and those that a lazy module has not made yet are looked at when they have
        a gradient.
    backend : str, optional
        Such as ``"torch:foreach"`` or ``"numba"``; without it, see `samestep.get_backend`.
    foreach, fused : bool, optional
        As torch has them: ``foreach=True`` is ``"torch:foreach"``; ``fused=True`` is
        ``"torch:fused"``, and lets a GradScaler leave its scale to the launch; False for one of
        them and nothing else is ``"torch:forloop"``. The bits are the same.
    capturable, differentiable : bool
        Must be False: what is equal for all elements is computed on the host, so replays of a
        captured step alone would repeat its scalars. A step is captured without it, see `prepare`.
    warn_lost_updates : bool
        As of `samestep.Optimizer`.
    **hyper
        Hyperparameters and structural options of the rule, and of those of groups where they know
        them: numbers, or tensors of one element. ``copy_to`` is as of `samestep.Optimizer`: tensors
        of bfloat16 or float16 in the order of the parameters, such as ``half_model.parameters()``;
        of several groups a list with an entry for each, or ``"copy_to"`` of a group.

    Raises
    ------
    TypeError, ValueError
        For parameters or hyperparameters that cannot be used, before anything is changed. The
        message names the parameter, what came and what was expected.
    RuntimeError
        If several implementations are asked for, or one that cannot run here.
    """

    _only_rule: ClassVar[Rule | None] = None  # of classes for one rule

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
        found, self._alone = find_rule(rule), OneThread()
        only = f"{type(self).__name__} of samestep.torch" if self._only_rule is not None else None
        self._rules = GroupRules(found, only)
        self.warn_lost_updates = bool(warn_lost_updates)
        self._swapped = False
        self._copies = {}
        if capturable or differentiable:
            asked = "capturable" if capturable else "differentiable"
            remedy = "; a step is captured without it, by prepare()" if capturable else ""
            raise ValueError(
                f"{asked}=True is not supported: a step's scalars are the host's{remedy}"
                f"{see('torch.md#on-a-cuda-device')}"
            )
        groups, defaults = self._rules.with_keywords(params, hyper)
        self._backends = Backends(chosen_backend(backend, foreach, fused))
        flags = dict(foreach=foreach, fused=fused, capturable=False, differentiable=False)
        super().__init__(groups, {**defaults, **flags})

    @property
    def rule(self) -> Rule:
        """The rule of groups that name no other."""
        return self._rules.own

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """True if torch's GradScaler may leave its scale to the step: with ``fused=True``, as in
        torch, and on a device whose kernels take it from where it is. For others gradients are
        unscaled before the step."""
        return bool(self.defaults["fused"]) or any(map(takes_scale, self._backends.all()))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; a group with an error is not added."""
        refuse_traced("making an optimizer")
        check_own(self._swapped)
        with self._alone:  # what is refused is not written into
            self._add_group(dict(param_group) if is_group(param_group) else param_group)

    def _add_group(self, param_group: dict[str, Any]) -> None:
        k, rules, copies = len(self.param_groups), self._rules, self._copies
        if is_group(param_group):
            check_entries(param_group, k)
        copy_to = param_group.pop("copy_to", None) if is_group(param_group) else None
        rule = rules.of_new(param_group, k)
        check_read_by_new(param_group, rule, self.rule, self.defaults, k)
        try:
            self._append_group(param_group, rule)
            new = tensors_of(
                copy_to, slots_of(self.param_groups, k, {}), where(self.param_groups, k)
            )
            self._copies = {**copies, **new}
            slots = all_slots(self.param_groups, {})
            dtype = dtype_of_copies(self._backends, slots, k, self._copies)
            self.param_groups[k]["copy_to"] = dtype
            self._check_group(k)
        except BaseException:
            del self.param_groups[k:]
            self._rules, self._copies = rules, copies
            raise
        refresh(self._backends, new)
        if len(self._rules.by_name) > 1:
            for group in self.param_groups:
                group.setdefault(RULE, self.rule.name)

    def _append_group(self, group: dict[str, Any], rule: Rule) -> None:
        """Add a group with the defaults of its rule, unchecked."""
        usual = self.defaults
        try:
            self.defaults = self._rules.defaults_of(rule, usual)
            super().add_param_group(group)
        finally:
            self.defaults = usual
        if rule is not self.rule:
            self._rules = self._rules.and_of(rule)
        if RULE in self.param_groups[-1] or rule is not self.rule:
            self.param_groups[-1][RULE] = rule.name

    def _check_group(self, k: int) -> None:
        """Raise TypeError or ValueError for a group that cannot be stepped; begin the state of
        rules that have it before the first step."""
        self._forget()
        groups = self.param_groups
        family = self._rules.of(groups)[k]
        numbers = numbers_of(family, groups, k)
        rule = variant(family, numbers, ())
        slots = [slot for slot in slots_of(groups, k, self.state) if not waits(slot.param)]
        check_slots(self._backends, rule, numbers, slots)
        if layout_of(family).from_the_start:
            for slot in slots:
                self.state[slot.param] = first_entry(self._backends, slot, rule, numbers)

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

    @not_compiled
    def update_hessian(self, estimates: Iterable[torch.Tensor | None]) -> None:
        """Take in estimates of the Hessian's diagonal, for rules that go by one: `Sophia`.

        ``estimates`` has a tensor like each parameter, in the order of ``param_groups``, or None.
        All else is as with `samestep.Optimizer.update_hessian`.

        Raises
        ------
        TypeError, ValueError
            For estimates that cannot be used, or a rule that takes none; nothing is changed then.
        RuntimeError
            As `step` does; and where a stream is capturing.
        """
        refuse_traced("update_hessian()")
        check_own(self._swapped)
        found = list(estimates)
        with held(), self._alone, torch.no_grad():
            count = len(self._look_again())
            if len(found) != count:
                raise ValueError(
                    f"estimates has {len(found)} entries; expected {count}, a tensor or None for each "
                    "parameter of all groups"
                )
            for i, estimate in enumerate(found):
                if estimate is not None and not isinstance(estimate, torch.Tensor):
                    raise TypeError(
                        f"estimates[{i}] is a {type(estimate).__name__}; expected a tensor or None"
                    )
            parts, begun = self._parts_for(found)
            parts.update_hessian(self.param_groups, found)
            self.state.update(begun)
            self._parts = parts

    @not_compiled
    def prepare(self) -> None:
        """Hand the next step's scalars to a step that was captured in a CUDA graph, and count it;
        call it before each replay of the graph.

        Raises RuntimeError if no step of these parameters was captured.
        """
        check_own(self._swapped)
        if self._keeps_averages() and is_evaluating(self.param_groups):
            refuse_step()
        parts = self._parts
        if parts is None:
            raise RuntimeError(
                "prepare: no step of these parameters and options was captured yet"
                f"{see('torch.md#on-a-cuda-device')}"
            )
        with held(), self._alone, torch.no_grad():
            parts.settle()
            parts.prepare(self.param_groups)

    def _advance(self) -> None:
        check_own(self._swapped)
        groups = self.param_groups
        if self._keeps_averages() and is_evaluating(groups):
            refuse_step()
        grads = [p.grad for p in self._look_again()]
        parts, begun = self._parts_for(grads)
        if parts.step(groups, grads, functools.partial(settings_now, self)):
            self.state.update(begun)
            self._parts = parts

    def _parts_for(self, grads: Sequence[Any]) -> tuple[Parts, Entries]:
        """Return what steps the parameters that have one of ``grads``, and the entries of ``state``
        that some take their first step from: `state` gets these when the step is taken, so one that
        fails leaves none behind."""
        groups, parts = self.param_groups, self._parts
        absent = range(len(grads)) if parts is None else parts.absent
        missing = [i for i in absent if grads[i] is not None]
        if missing or parts is None:
            refuse_traced("a step")  # else the check of gradients does
            if any(backend.capturing() for backend in self._backends.all()):
                raise RuntimeError(
                    "a step must be taken before one is captured, with the same parameters and "
                    f"options{see('torch.md#on-a-cuda-device')}"
                )
        begun = self._first_entries(missing)
        if parts is None or begun:
            rules = self._rules.of(groups)
            state = {**self.state, **begun}
            parts = Parts(self._backends.of, rules, groups, state, self._copies)
        return parts, begun

    def _first_entries(self, positions: Sequence[int]) -> Entries:
        if not positions:
            return {}
        slots = all_slots(self.param_groups, self.state)
        rules = self._rules.of(self.param_groups)
        numbers = all_numbers(rules, self.param_groups)
        return first_entries(self._backends, rules, numbers, slots, positions)


def with_grad(closure: Callable[[], Any]) -> Any:
    """The loss, computed with autograd switched on. The closure is the user's and may take long,
    so an interrupt does not wait for it."""
    if torch.is_grad_enabled():
        return closure()
    with held() as interrupts, torch.enable_grad():
        return interrupts.outside(closure)
