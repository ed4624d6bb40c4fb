"""The optimizer: parameters, their groups and state, and the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from ..interrupts import held, hold, holding, release
from ..language.keywords import known_keywords
from ..language.rule import Rule
from ..parameters.entries import check_one_rule
from ..parameters.trees import listed
from ..protocol import Backend
from ..rules import find_rule
from ..step.loss_scaler import LossScaler
from ..step.run import start
from ..step.settings import Settings
from . import averages
from .adjustable import Adjustable, Number
from .checkpointed import Checkpointed
from .estimates import TakesEstimates


class Optimizer(Adjustable, Checkpointed, TakesEstimates):
    """Updates parameters in place by a rule.

    Parameters
    ----------
    rule : Rule or str
        A rule, your own included, or the name of a built-in one.
    params : array, nested list / tuple / dict of arrays, or list of groups
        Updated in place. A list of dicts that all have ``"params"`` is parameter groups: the
        other entries are hyperparameters of the group, and ``"rule"`` if it has one of its own.
        A group with ``frozen=True`` stays as it is. An entry ``"name"`` is the user's own.
    rules : mapping or callable, optional
        Other rules for some parameters, which are then in a group for each choice. Regular
        expressions, searched in the parameters' names (``"layers.0.weight"``, the keys with points
        between), mapped to a rule, or to a dict with ``"rule"`` and hyperparameters; the first that
        is found counts. Or a function ``(name, param)`` that returns these, None for ``rule``.
    backend : str, optional
        ``"numpy"``, ``"numba"``, ``"cupy"``, ``"torch"``; without it, see `samestep.get_backend`.
    clip_global_norm : float or schedule, optional
        Scale all gradients down together where their Euclidean norm is longer than this. A step
        whose norm is not finite is left out; ``skipped`` tells.
    skip_nonfinite : bool
        Leave out the whole step if any gradient is infinite or NaN; ``skipped`` tells.
    loss_scaler : LossScaler, optional
        Its scale is divided out of the gradients; implies ``skip_nonfinite``.
    accumulation_steps : int
        Update at every so many calls of ``step``, with the mean of their gradients.
    cast_gradients : bool
        Round gradients of other dtypes to the parameter's compute dtype (float64 to float32)
        instead of refusing them.
    warn_lost_updates : bool
        Look at a sample of 16-bit parameters in host memory at the tenth update, and warn if
        rounding loses most of it. Of the program, so no checkpoint has it.
    **hyper
        Hyperparameters and structural options of the rule, for all groups that do not say otherwise
        and whose rule has them, and of every rule: ``maximize``; ``lazy``, see
        `samestep.step.indexed_slices`; ``clip_value``, a limit for each element of a gradient;
        ``clip_norm``, a limit for the Euclidean norm of each parameter's gradient; ``state_dtype``,
        what states are stored in (see `samestep.language.codecs`): "bfloat16", "float16", "int8",
        "int4", "dynamic8" or, for what is never negative, "uint8", "uint4", "udynamic8", or a dict
        of these by the names of states; ``rounding`` of what is stored in 16 bits, "nearest" or
        "stochastic", by random bits that follow from ``seed`` (see `samestep.language.rounding`);
        ``master="float32"``, ``master="split"`` or ``compensated=True``, for parameters of 16 bits:
        what rounding would lose is kept (see `samestep.parts`); ``average``, "ema" or "mean": an
        average of the parameter is kept, with ``average_decay`` and ``average_start``, the steps
        before it that do not count; or a whole number: so many of the last copies are kept, one
        every ``average_every`` steps, and their mean is the average; ``copy_to``, arrays of
        bfloat16 or float16 in the structure of the parameters, into which each step writes float32
        parameters, rounded; ``weight_decay_mask``, which parameters decay (see
        `samestep.parameters.decay_mask`). A number may also be a schedule: a function of the number
        of steps taken so far.

    Raises
    ------
    TypeError, ValueError
        For parameters or hyperparameters that cannot be used, before anything is changed. The
        message names the parameter, what came and what was expected.

    Notes
    -----
    Gradients are unscaled first, then clipped by ``clip_global_norm``, ``clip_value`` and
    ``clip_norm``, in this order. `clip_global_norm` to `cast_gradients` are attributes, and
    may be changed between steps as hyperparameters may.
    """

    __slots__ = ()

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
        cast_gradients: bool = False,
        warn_lost_updates: bool = True,
        weight_decay_mask: Any = None,
        rules: Mapping[str, Any] | Callable[[str, Any], Any] | None = None,
        **hyper: Any,
    ) -> None:
        settings = Settings(
            clip_global_norm,
            skip_nonfinite,
            loss_scaler,
            accumulation_steps,
            cast_gradients,
            warn_lost_updates,
        )
        found, params = find_rule(rule), listed(params)
        if self._only_rule is not None:
            check_one_rule(found, params, type(self).__name__, rules=rules)
        self._run = start(found, params, rules, backend, settings, weight_decay_mask, hyper)

    def __repr__(self) -> str:
        count = len(self._run.groups.tensors)
        tensors = f"{count} parameter" + "s" * (count != 1)
        rules = ", ".join(dict.fromkeys(rule.name for rule in self._run.groups.families))
        return f"<{rules} on {self.backend.name}: {tensors}>"

    @property
    def rule(self) -> Rule:
        """The rule of groups that do not say otherwise; ``param_groups`` has that of each."""
        return self._run.rule

    @property
    def backend(self) -> Backend:
        """The backend that it runs on."""
        return self._run.backend

    # ---- groups and hyperparameters

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The hyperparameters of groups of `rule` that do not say otherwise."""
        return self._run.defaults

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups: each a dict with ``"params"``, the name of its ``"rule"``, hyperparameters
        and ``"frozen"``. What is written there counts from the next step on; the rule cannot be
        changed.

        Another array in the place of a parameter, in ``"params"`` or in a list or dict that was
        passed, is updated from then on, with the state of the place; it must have the same shape
        and dtype. Parameters cannot be taken away, and are added by `add_param_group`.
        """
        return self._run.groups.entries

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own.

        Those that it does not say are `defaults`; if it has another ``"rule"``, those of that rule.
        Gradients are then given as a list with one entry per group; parameters that ``rules``
        divided are one entry. Raises as the constructor does, and RuntimeError between
        micro-batches; a group with an error is not added.
        """
        if self._only_rule is not None:
            count = len(self.param_groups)
            check_one_rule(self.rule, [group], type(self).__name__, count)
        with self._run.alone:
            self._run.add_group(group)

    def current_hyperparameters(self) -> list[dict[str, Any]]:
        """Return each group's hyperparameters at the next step: schedules as numbers."""
        return self._run.groups.numbers(self.steps_taken)

    @property
    def lr(self) -> NoReturn:
        """Raise AttributeError: the learning rate belongs to a group."""
        raise AttributeError("lr belongs to a group: param_groups[0]['lr']")

    @lr.setter
    def lr(self, value: object) -> None:
        self.lr  # noqa: B018 (raises)

    # ---- stepping

    @known_keywords()
    def step(self, grads: Any) -> None:
        """Update the parameters in place.

        Afterwards ``skipped`` tells whether the step was left out, and ``grad_norm`` is the norm
        of all gradients before clipping, where `clip_global_norm` is set (None otherwise).

        Parameters
        ----------
        grads : same structure as the parameters
            An iterator, such as a generator, is a list. Arrays of the parameters' shapes and
            dtypes, or None for a parameter that has no gradient this step: it neither moves nor
            advances its step count. For float32 and 16-bit parameters float32, bfloat16 and
            float16, too; others if `cast_gradients` says so. For a parameter without axes also a
            number; for others also a `samestep.IndexedSlices` or a sparse tensor, a gradient of
            some rows. They are only read. With several groups, a list with one such structure per
            group. The arrays of the last step are recognized and not looked at again: give none of
            them, nor a parameter, another shape, dtype or flags in place.

        Raises
        ------
        TypeError, ValueError
            For gradients or changed hyperparameters that cannot be used; parameters, state and
            step counts are then what they were.
        RuntimeError
            If the processor has been switched to flush subnormal numbers to zero, or to round
            otherwise than to nearest; or if another thread is using this optimizer.

        Notes
        -----
        Ctrl-C during a step takes effect after it: the step is then complete and counted. A second
        one takes effect at once, and may leave some parameters updated and nothing counted.
        """
        run = self._run
        with run.alone:
            run.begin()
            leaves = run.groups.gradient_leaves(grads)
            outermost = not holding()  # what `held` does, in half the time
            try:
                hold()
                run.keep(run.stepping.run(leaves, run.groups.takes_part, run.settings_now()))
            finally:
                if outermost:
                    release()

    def flush(self) -> None:
        """Update with the mean of the micro-batches since the last update, fewer than
        `accumulation_steps`: those that are left at the end. Does nothing if there are none.

        Raises as `step` does.
        """
        run = self._run
        if not run.micro_steps:
            return
        with run.alone:
            run.begin()
            leaves = [None] * len(run.groups.tensors)
            with held():
                settings = run.settings_now()
                run.keep(run.stepping.run(leaves, run.groups.takes_part, settings, flush=True))

    def reset(self) -> None:
        """Set state and counts to what they were before the first step, in the same memory; drop
        micro-batches. Parameters, hyperparameters and settings stay, the loss scaler too.

        Schedules begin anew, and an initial state that is a hyperparameter is that of now. Raises
        RuntimeError within `averages`.
        """
        with held(), self._run.alone:
            self._run.reset()

    def eval(self) -> None:
        """Turn the parameters, in place, into the average of the steps so far, for evaluation; no
        step is taken then. For rules that keep one: `samestep.AdamWScheduleFree` and its like.

        Raises TypeError for other rules.
        """
        with self._run.alone:
            self._run.evaluate(True)

    def train(self) -> None:
        """Turn the parameters back into those that steps are taken from, which they are at first.

        Each way rounds once: after `eval` and `train` a parameter may differ in its last place.
        """
        with self._run.alone:
            self._run.evaluate(False)

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
        run = self._run
        with run.alone:
            run.begin()
            with held():
                run.keep(run.stepping.prepare(run.groups.takes_part, run.settings_now()))

    @property
    def steps_taken(self) -> int:
        """The number of updates so far, without skipped ones. Reading it may wait for a device."""
        self._run.settle()
        return self._run.steps_taken

    @property
    def skipped_steps(self) -> int:
        """The number of steps that were left out. Reading it may wait for a device."""
        self._run.settle()
        return self._run.skipped_steps

    @property
    def skipped(self) -> bool:
        """True if the last step was left out. Reading it may wait for a device."""
        self._run.settle()
        return self._run.skipped

    @property
    def grad_norm(self) -> float | None:
        """The norm of all gradients before clipping at the last step, where `clip_global_norm`
        is set. Reading it may wait for a device."""
        return self._run.grad_norm

    @property
    def micro_steps(self) -> int:
        """The number of micro-batches that have been accumulated since the last step."""
        return self._run.micro_steps

    # ---- averages of the parameters

    def averaged(self) -> Any:
        """Return the averages of the parameters, in their structure: new arrays of the compute
        dtype.

        A parameter without a step that counts, or whose group keeps no average, is its own. Raises
        ValueError if no group keeps one: they are asked for by ``average="ema"``, "mean" or a
        number of last copies.
        """
        with self._run.alone:
            return averages.averaged(self._run)

    def averages(self) -> AbstractContextManager[None]:
        """Have the averages in the places of the parameters, for evaluation: ``with
        opt.averages():``.

        Afterwards, and after an exception, parameters are what they were. Meanwhile a step, saving
        and pickling raise RuntimeError. Raises as `averaged` does.
        """
        return averages.averages(self._run)
