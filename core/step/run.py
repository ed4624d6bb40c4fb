"""A run: all that the next step of an optimizer depends on, so what a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..choice import get_backend
from ..interrupts import held
from ..language.blockwise import BLOCKWISE
from ..language.dtypes import dtype_of
from ..language.hyperparameters import Option
from ..language.rule import Rule
from ..parameters.by_name import Division, as_groups
from ..parameters.copies import copies_of_groups, kept_state, refresh_copies, with_copies
from ..parameters.entries import is_group, label, listed_group, rule_of
from ..parameters.groups import Groups
from ..parameters.keywords import check_read_by_new, with_keywords
from ..parameters.trees import flatten
from .evaluation import change_mode, check_has_modes, refuse_step
from .one_thread import OneThread
from .outcome import Outcome
from .settings import Settings
from .stepping import Stepping
from .swapped import check_own


class Run:
    """The parameters of an optimizer with their groups and state, its settings, and its step
    counts.

    ``rule`` and ``defaults`` are those of groups that do not say otherwise, ``steps_taken`` and
    ``skipped_steps`` count steps; they, and ``skipped``, are known once the last step is settled.
    ``alone`` is entered by whoever steps, reads or changes all of it. ``backend`` is the name of
    one, or None for a choice by the parameters. ``single``: parameters that were not given as
    groups; ``division`` is where they are if they have several rules. ``options`` are the
    structural options of each group, where they do not follow from its hyperparameters.

    ``evaluating``: parameters are the averages that their rule keeps, and no step is taken.
    ``loaded`` says what came from a file, None if nothing did.

    Raises TypeError or ValueError, naming the parameter, for parameters that cannot be used, and
    RuntimeError for a backend that cannot run.
    """

    loaded: Any = None
    swapped = False  # averages are in the places of the parameters

    def __init__(
        self,
        rule: Rule,
        defaults: Mapping[str, Any],
        backend: str | None,
        groups: Sequence[Mapping[str, Any]],
        single: bool,
        settings: Settings,
        options: Sequence[Mapping[str, Option]] | None = None,
        division: Division | None = None,
    ) -> None:
        leaves = [leaf for group in groups for leaf in flatten(group["params"], "params")[0]]
        if not leaves:
            raise ValueError("params is empty: there is nothing to optimize")
        self.rule, self.defaults = rule, defaults
        self.backend = get_backend(backend, leaves)
        self.groups = Groups(rule, defaults, self.backend, single, division)
        for k, group in enumerate(groups):
            self.groups.add(group, {} if options is None else options[k], 0)
        self.backend.check_overlap(with_copies(self.groups.tensors))
        refresh_copies(self.backend, self.groups.tensors)
        self.settings, self.alone = settings, OneThread()
        self.steps_taken, self.skipped_steps, self.skipped = 0, 0, False
        self.evaluating = False
        self.forget()

    def forget(self) -> None:
        """Look at everything anew before the next step."""
        self.groups.forget()
        self._checked_settings: Settings | None = None
        self._stepping: Stepping | None = None
        self._outcome: Outcome | None = None  # of the last step, until it is settled
        self._measured: Outcome | None = None  # of the last step, which has its norm

    @property
    def stepping(self) -> Stepping:
        """The launches and checks of a step, made when they are first needed: groups may still
        come."""
        if self._stepping is None:
            self._stepping = Stepping(self.backend, self.groups.tensors, self.groups.clocks)
        return self._stepping

    # ---- groups, hyperparameters and settings

    def add_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own. Raises as `start` does, and
        RuntimeError between micro-batches; a group with an error is not added."""
        self.check_own()
        self.settle()
        if self.micro_steps:
            raise RuntimeError(
                "a group cannot be added while gradients are being accumulated; flush() ends that"
            )
        self.follow()
        if is_group(group):
            k = len(self.groups.entries)
            own = rule_of(group, self.rule, label(k, group))
            check_read_by_new(group, own, self.rule, self.defaults, k)
        count = len(self.groups.tensors)
        self.groups.add(listed_group(group), {}, self.steps_taken, check_overlap=True)
        refresh_copies(self.backend, self.groups.tensors[count:])
        self.forget()

    def change(self, **settings: Any) -> None:
        """Use other settings from the next step on, which checks them."""
        self.settings = replace(self.settings, **settings)
        self._checked_settings = None

    def settings_now(self) -> Settings:
        """Return the settings of the next step. Raises TypeError or ValueError for what cannot be
        used."""
        if self._checked_settings is not None:
            return self._checked_settings
        now = self.settings.at(self.steps_taken)
        if now is self.settings:  # nothing is a schedule
            self._checked_settings = now
        return now

    def begin(self) -> None:
        """Bring everything that a step goes by up to date: the last step's outcome, parameters that
        were replaced, hyperparameters that were changed."""
        self.check_own()
        if self.evaluating:
            refuse_step()
        if not self.backend.capturing():  # what is only recorded counts nothing, and cannot wait
            self.settle()
        self.follow()
        self.refresh()

    def check_own(self) -> None:
        """Raise RuntimeError while averages are in the places of the parameters."""
        check_own(self.swapped)

    def follow(self) -> None:
        """Update other arrays from now on, where they were put in the places of parameters."""
        if found := self.groups.follow():
            refresh_copies(self.backend, found)  # those without a gradient are not stepped
            if self._stepping is not None:
                self._stepping.bind_again()

    def refresh(self) -> None:
        """Take over hyperparameters that were changed from outside, or that a schedule changes."""
        self.groups.check_constants()
        stepping = self.stepping  # first: making it may fail, and changes are told once
        hyper = self.groups.changed(self.steps_taken)
        if hyper is not None:
            stepping.set_hyper(hyper)

    def evaluate(self, evaluating: bool) -> None:
        """Turn the parameters into the averages that their rule keeps, or back."""
        self.check_own()
        check_has_modes(self.groups.families)
        if evaluating == self.evaluating:
            return
        self.settle()
        self.follow()
        tensors, hyper = self.groups.tensors, self.groups.numbers(self.steps_taken)
        with held():
            change_mode(self.backend, tensors, self.groups.clocks, hyper, evaluating)
            self.evaluating = evaluating
            if not evaluating:  # a state dict that was loaded meanwhile wrote averages there
                refresh_copies(self.backend, tensors)

    def reset(self) -> None:
        """Set state and counts to what they were before the first step, in the same memory."""
        self.check_own()
        self.settle()
        numbers, tensors, clocks = self.groups.numbers(0), self.groups.tensors, self.groups.clocks
        for i, (tensor, clock) in enumerate(zip(tensors, clocks, strict=True)):
            for name, array in kept_state(tensor).items():
                state = clock.rule.scales.get(name, name)
                value = clock.rule.initial.get(state, 0.0)
                value = numbers[clock.group][value] if isinstance(value, str) else value
                if codec := BLOCKWISE.get(clock.rule.storage.get(state, "")):
                    value = codec.of_number(value)[name != state]
                is_complex = dtype_of(array).kind == "c"
                self.backend.copy_into(array, complex(value, value) if is_complex else value)
            clocks[i] = replace(clock, step=0, carry=dict(clock.rule.carry))
        self.steps_taken, self.skipped_steps, self.skipped = 0, 0, False
        self.evaluating = False
        refresh_copies(self.backend, tensors)
        self._measured, self._checked_settings = None, None
        if self._stepping is not None:
            self._stepping.restart()

    # ---- what became of steps

    def keep(self, outcome: Outcome | None) -> None:
        """Keep the outcome of a step, and count the step if it is known already."""
        self._measured, self.skipped = outcome, False
        if outcome is not None:
            self._outcome = outcome
            if outcome.settled:
                self.settle()

    def settle(self) -> None:
        """Count the last step, if that has not been done. A device may have to be waited for."""
        outcome = self._outcome
        if outcome is not None:
            if not outcome.settled:
                with held():
                    outcome.settle()
            self._outcome = None
            self.steps_taken += outcome.updated
            self.skipped_steps += outcome.skipped
            self.skipped = outcome.skipped

    @property
    def grad_norm(self) -> float | None:
        """The norm of all gradients at the last step before clipping, or None where it was not
        measured. Reading it may wait for a device."""
        return None if self._measured is None else self._measured.grad_norm

    @property
    def micro_steps(self) -> int:
        """The number of micro-batches that have been accumulated since the last step."""
        return 0 if self._stepping is None else self._stepping.micro_steps


def start(
    rule: Rule,
    params: Any,
    rules: Any,
    backend: str | None,
    settings: Settings,
    weight_decay_mask: Any,
    hyper: Mapping[str, Any],
) -> Run:
    """Start a run from parameters, which are all checked first.

    The arguments are those of `samestep.Optimizer`. Raises TypeError or ValueError for parameters,
    hyperparameters or settings that cannot be used.
    """
    settings.at(0)
    groups, single, division = as_groups(params, rules)
    if division is None:
        masks: Sequence[Any] = [weight_decay_mask] * len(groups)
    else:
        masks = division.masks(weight_decay_mask)
    hyper = dict(hyper)
    copy_to = hyper.pop("copy_to", None)
    copies = copies_of_groups(copy_to, len(groups), single, division)
    defaults, groups = with_keywords(rule, groups, hyper, masks, copies)
    run = Run(rule, defaults, backend, groups, single, settings, division=division)
    if division is not None:  # of which each group has a part
        run.groups.copies.watch(copy_to)
    return run
