"""The optimizer: parameters, their groups and state, and the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, ClassVar, Self

from ..checkpoint import state_dict as _state_dict
from ..choice import get_backend
from ..interrupts import held, hold, release
from ..language.rule import Rule
from ..parameters.groups import WHOLE, Groups, as_groups, listed_group
from ..parameters.hyper import checked
from ..parameters.trees import flatten, gradient_leaves
from ..rules import find_rule
from ..step.loss_scaler import LossScaler
from ..step.outcome import Outcome
from ..step.settings import Settings
from ..step.stepping import Stepping
from .attributes import OfGroups, Setting, Settled

Number = float | Callable[[int], float]


class Optimizer:
    """Updates parameters in place by a rule.

    Parameters
    ----------
    rule : Rule or str
        A rule, your own included, or the name of a built-in one.
    params : array, nested list / tuple / dict of arrays, or list of groups
        Updated in place. A list of dicts that all have ``"params"`` is parameter groups: the
        other entries are hyperparameters of the group. A group with ``frozen=True`` stays as
        it is.
    backend : str, optional
        ``"numpy"``, ``"numba"``, ``"cupy"``, ``"torch"``; without it, see `samestep.get_backend`.
    clip_global_norm : float or schedule, optional
        Scale all gradients down together where their Euclidean norm is longer than this.
    skip_nonfinite : bool
        Leave out the whole step if any gradient is infinite or NaN; ``skipped`` tells.
    loss_scaler : LossScaler, optional
        Its scale is divided out of the gradients; implies ``skip_nonfinite``.
    accumulation_steps : int
        Update at every so many calls of ``step``, with the mean of their gradients.
    **hyper
        Hyperparameters and structural options of the rule, for all groups that do not say
        otherwise, and of every rule: ``maximize``; ``lazy``, see `samestep.step.indexed_slices`; ``clip_value``, a limit for each element of
        a gradient; ``clip_norm``, a limit for the Euclidean norm of each parameter's gradient;
        ``weight_decay_mask``, which parameters decay (see `samestep.parameters.decay_mask`). A number may also be
        a schedule: a function of the number of steps taken so far.

    Gradients are unscaled first, then clipped by ``clip_global_norm``, ``clip_value`` and
    ``clip_norm``, in this order. `clip_global_norm` to `accumulation_steps` are attributes, and
    may be changed between steps as hyperparameters may.

    Raises
    ------
    TypeError, ValueError
        For parameters or hyperparameters that cannot be used, before anything is changed. The
        message names the parameter, what came and what was expected.
    """

    # an attribute that there is not cannot be set: a misspelt one is an error
    __slots__ = (
        "__weakref__", "_groups", "_measured", "_outcome", "_settings_or_none", "_skipped",
        "_skipped_steps", "_stepping_or_none", "_steps_taken", "_wanted", "backend", "defaults",
        "rule",
    )  # fmt: skip
    steps_taken, skipped_steps = Settled[int](), Settled[int]()
    skipped = Settled[bool]()
    clip_global_norm, skip_nonfinite = Setting[Number | None](), Setting[bool]()
    loss_scaler, accumulation_steps = Setting[LossScaler | None](), Setting[int]()
    lr = OfGroups()
    _only_rule: ClassVar[Rule | None] = None  # of classes for one rule

    def __init__(
        self,
        rule: Rule | str,
        params: Any,
        *,
        backend: str | None = None,
        clip_global_norm: Number | None = None,
        skip_nonfinite: bool = False,
        loss_scaler: LossScaler | None = None,
        accumulation_steps: int = 1,
        weight_decay_mask: Any = None,
        **hyper: Any,
    ) -> None:
        self.rule = find_rule(rule)
        self._begin(Settings(clip_global_norm, skip_nonfinite, loss_scaler, accumulation_steps))
        self.defaults, _ = checked(self.rule, hyper, 0, others=("weight_decay_mask", *WHOLE))
        groups, single = as_groups(params)
        leaves = [leaf for group in groups for leaf in flatten(group["params"], "params")[0]]
        if not leaves:
            raise ValueError("params is empty: there is nothing to optimize")
        self.backend = get_backend(backend, leaves)
        self._groups = Groups(self.rule, self.defaults, self.backend, single)
        for group in groups:
            self._groups.add({"weight_decay_mask": weight_decay_mask, **group}, {}, 0)
        self.backend.check_overlap(self._groups.tensors)
        self._forget()

    def _begin(self, wanted: Settings, steps_taken: int = 0) -> None:
        """Count from here on. Raises for settings that cannot be used."""
        self._steps_taken, self._skipped_steps, self._skipped = steps_taken, 0, False
        self._wanted = wanted
        self._settings_or_none: Settings | None = None
        self._settings()

    def _forget(self) -> None:
        """What is known about the next step: everything is looked at anew."""
        self._groups.forget()
        self._stepping_or_none: Stepping | None = None
        self._outcome: Outcome | None = None  # of the last step, until it is settled
        self._measured: Outcome | None = None  # of the last step, which has its norm

    @property
    def _stepping(self) -> Stepping:
        if self._stepping_or_none is None:
            self._stepping_or_none = Stepping(
                self.backend, self._groups.tensors, self._groups.clocks
            )
        return self._stepping_or_none

    def __repr__(self) -> str:
        count = len(self._groups.tensors)
        tensors = f"{count} parameter" + "s" * (count != 1)
        return f"<{self.rule.name} on {self.backend.name}: {tensors}>"

    # ---- groups and hyperparameters

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups: each a dict with ``"params"``, hyperparameters and ``"frozen"``. What is
        written there counts from the next step on."""
        return self._groups.entries

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own.

        Gradients are then given as a list with one entry per group. Raises as the constructor
        does, and RuntimeError between micro-batches; a group with an error is not added.
        """
        self._settle()
        if self.micro_steps:
            raise RuntimeError("a group cannot be added while gradients are being accumulated")
        self._groups.add(listed_group(group), {}, self._steps_taken, check_overlap=True)
        self._forget()

    def current_hyperparameters(self) -> list[dict[str, Any]]:
        """Each group's hyperparameters as the next step will use them: schedules as numbers."""
        return self._groups.numbers(self.steps_taken)

    def _refresh(self) -> None:
        """Take over hyperparameters that were changed from outside, or that a schedule changes."""
        hyper = self._groups.changed(self._steps_taken)
        if hyper is not None:
            self._stepping.set_hyper(hyper)

    def _settings(self) -> Settings:
        settings = self._settings_or_none
        if settings is None:
            settings = self._wanted.at(self._steps_taken)
            if settings == self._wanted:  # no schedule
                self._settings_or_none = settings
        return settings

    # ---- stepping

    def step(self, grads: Any) -> None:
        """Update the parameters in place.

        Afterwards ``skipped`` tells whether the step was left out, and ``grad_norm`` is the norm
        of all gradients before clipping, where `clip_global_norm` is set (None otherwise).

        Parameters
        ----------
        grads : same structure as the parameters
            Arrays of the parameters' shapes and dtypes (for 16-bit parameters float32, too), or
            None for a parameter that has no gradient this step: it neither moves nor advances
            its step count. For parameters in host memory also a `samestep.IndexedSlices` or a
            sparse tensor, a gradient of some rows. They are only read. With several groups, a
            list with one such structure per group. The arrays of the last step are recognized and
            not looked at again: give none of them, nor a parameter, another shape, dtype or flags
            in place.

        Raises
        ------
        TypeError, ValueError
            For gradients or changed hyperparameters that cannot be used; parameters, state and
            step counts are then what they were.
        RuntimeError
            If the processor has been switched to flush subnormal numbers to zero.

        Notes
        -----
        Ctrl-C during a step takes effect after it: the step is then complete and counted. A second
        one takes effect at once, and may leave some parameters updated and nothing counted.
        """
        if self._outcome is not None:
            self._settle()
        groups = self._groups
        leaves = gradient_leaves(groups.specs, len(groups.tensors), groups.single, grads)
        self._refresh()
        was_held = hold()  # what `held` does, in half the time
        try:
            self._take_note(self._stepping.run(leaves, groups.takes_part, self._settings()))
        finally:
            release(was_held)

    def prepare(self) -> None:
        """Make a captured step the next one: to be called before each replay of a CUDA graph.

        While a stream is capturing, ``step`` records the work and takes no step. ``prepare``
        computes the scalars of the next step, sends them, on the current stream, to where the
        captured work reads them, and counts the step as taken.

        Raises
        ------
        RuntimeError
            If no step was captured, or what was captured is not what would run now.
        """
        self._settle()
        self._refresh()
        with held():
            self._take_note(self._stepping.prepare(self._groups.takes_part, self._settings()))

    def _take_note(self, outcome: Outcome | None) -> None:
        """Of what became of a step, or that it is not known yet."""
        self._measured, self._skipped = outcome, False
        if outcome is not None:
            self._outcome = outcome
            if outcome.settled:
                self._settle()

    def _settle(self) -> None:
        """Count the last step, if that has not been done. A device may have to be waited for."""
        outcome = self._outcome
        if outcome is not None:
            if not outcome.settled:
                with held():
                    outcome.settle()
            self._outcome = None
            self._steps_taken += outcome.updated
            self._skipped_steps += outcome.skipped
            self._skipped = outcome.skipped

    @property
    def grad_norm(self) -> float | None:
        """The norm of all gradients before clipping at the last step, where `clip_global_norm`
        is set. Reading it may wait for a device."""
        return None if self._measured is None else self._measured.grad_norm

    # ---- state

    @property
    def state(self) -> list[dict[str, Any]]:
        """The state arrays of each parameter, by name; the optimizer's own memory."""
        return [tensor.state for tensor in self._groups.tensors]

    @property
    def steps(self) -> list[int]:
        """How many steps each parameter has taken."""
        self._settle()
        return [clock.step for clock in self._groups.clocks]

    @property
    def micro_steps(self) -> int:
        """How many micro-batches have been accumulated since the last step."""
        return 0 if self._stepping_or_none is None else self._stepping_or_none.micro_steps

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of everything but the parameters, in torch's layout: ``"state"`` maps the
        parameter's position to step, carry and arrays; ``"param_groups"`` lists hyperparameters
        and positions."""
        return _state_dict.take(self)

    def load_state_dict(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of the same rule, groups and shapes, taken on any backend.

        Raises TypeError or ValueError if it does not fit; nothing is changed then.
        """
        with held():
            _state_dict.restore(self, snapshot)

    def save(self, path: str | PathLike[str]) -> None:
        """Write parameters, state and everything else that the next step depends on to one file.

        The file appears under its name only when it is complete. See `samestep.checkpoint.save`.
        """
        from ..checkpoint import save

        save(self, path)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        params: Any,
        *,
        backend: str | None = None,
        rule: Rule | None = None,
    ) -> Self:
        """An optimizer of ``params`` that goes on from a file, with your own rule if it was
        saved with one; see `samestep.checkpoint.load`. A class of one rule loads no other."""
        from ..checkpoint import load_as

        return load_as(cls, path, params, backend, cls._only_rule or rule)

    def __getstate__(self) -> dict[str, Any]:
        return _state_dict.pickled(self)

    def __setstate__(self, saved: dict[str, Any]) -> None:
        _state_dict.unpickle(self, saved)
