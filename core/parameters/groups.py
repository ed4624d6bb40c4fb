"""Parameter groups: parameters with hyperparameters of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from ..language.dtypes import dtype_of
from ..language.names import suggestion
from ..language.outside import Constant, check_constants, constants
from ..language.rule import Rule
from ..language.text_checks import check
from ..pages import see
from ..protocol import Backend, Tensor
from .clock import Clock
from .contents import Contents
from .decay_mask import decay_mask
from .hyper import GroupHyper, as_held, is_fixed, numbers_at, options_asked_for
from .trees import flat_count, flatten, flatten_like, listed

# what belongs to the optimizer, and what a group may have besides parameters and hyperparameters
WHOLE = (
    "clip_global_norm", "skip_nonfinite", "accumulation_steps", "cast_gradients", "loss_scaler",
    "backend",
)  # fmt: skip
OF_GROUPS = ("frozen", "weight_decay_mask", "name")


class Groups:
    """The groups of one optimizer. ``entries`` is its ``param_groups``; ``rules`` and ``specs``
    have the variant of the rule and the structure of each group, ``flat`` the structures' `flat_count`,
    ``tensors`` and ``clocks`` an entry per parameter, in order. ``single``: one group, which was not
    given as a group."""

    def __init__(
        self, rule: Rule, defaults: Mapping[str, Any], backend: Backend, single: bool
    ) -> None:
        self._rule, self._defaults, self._backend = rule, defaults, backend
        self.single = single
        self._names = (*defaults, "frozen")
        self._read = itemgetter(*self._names)
        self.entries: list[dict[str, Any]] = []
        self.rules: list[Rule] = []
        self.specs: list[Any] = []
        self.flat: int | None = None
        self.tensors: list[Any] = []
        self.clocks: list[Clock] = []
        self._contents: list[Contents] = []
        self._constants: dict[Constant, Rule] = {}
        self.forget()

    def check_constants(self) -> None:
        """Raise ValueError if a number that a rule reads from outside has changed since it was traced."""
        for constant, rule in self._constants.items():
            constant.check(rule)

    def forget(self) -> None:
        """Look at all hyperparameters anew next time."""
        self._seen: Any = None
        self._scheduled: list[list[str]] = []  # names, group by group
        self._hyper: list[GroupHyper] = []
        self.takes_part: list[bool] | None = None  # those that are not frozen; None: all

    def add(
        self,
        group: Mapping[str, Any],
        options: Mapping[str, bool],
        steps_taken: int,
        check_overlap: bool = False,
    ) -> None:
        """Add a group; ``options`` are structural options that it has whatever it says. Raises as
        `Optimizer.add_param_group` does."""
        index = len(self.entries)
        if not is_group(group):
            raise TypeError(
                f"group {index}: a parameter group is a dict with 'params' and hyperparameters, "
                f"not {type(group).__name__}"
            )
        alone = self.single and index == 0
        where = "" if alone else f"group {index}: "
        given = {**self._defaults, **_hyper_of(group, where)}
        hyper = numbers_at(self._rule, given, steps_taken, where, OF_GROUPS)
        held = as_held(given, hyper)
        rule = self._rule.variant(**{**options_asked_for(self._rule, held, hyper), **options})
        rule = rule.stored_as(hyper["state_dtype"])
        leaves, names, spec = flatten(group["params"], "params" if alone else f"group[{index}]")
        tensors = [self._backend.adopt(n, a) for n, a in zip(names, leaves, strict=True)]
        if check_overlap:
            self._backend.check_overlap([*self.tensors, *tensors])
        decays = decay_mask(group.get("weight_decay_mask"), rule, spec, leaves, names, where)
        clocks = []
        for tensor, decays_here in zip(tensors, decays, strict=True):
            variant = rule.for_shape(tensor.shape)
            check(variant)
            check_constants(variant)
            self._constants |= dict.fromkeys(constants(variant), variant)
            tensor.state = self._backend.new_state(tensor, variant, hyper)
            clocks.append(Clock(variant, index, 0, dict(variant.carry), decays_here))
        self._backend.arrange_states(tensors)
        frozen = bool(group.get("frozen", False))
        self.entries.append(
            {"params": group["params"], **held, "frozen": frozen, **name_entry(group)}
        )
        self.rules.append(rule)
        self.specs.append(spec)
        self._contents.append(Contents(group["params"]))
        self.flat = flat_count(self.specs)
        self.tensors += tensors
        self.clocks += clocks

    def follow(self) -> bool:
        """Update other arrays from now on, where ``params`` of a group has others in the places of
        those that it had. State and step counts stay with the place. Says whether there were any.

        Raises TypeError or ValueError for arrays that are not like those in whose places they
        stand, and for groups of another structure.
        """
        count = len(self._contents)
        if len(self.entries) != count:
            raise ValueError(
                f"param_groups has {len(self.entries)} groups; this optimizer {count}; "
                "add_param_group adds one, and none can be taken away"
            )
        try:
            for group, contents in zip(self.entries, self._contents, strict=True):
                if not contents.same(group["params"]):
                    break
            else:
                return False
            trees = [listed(group["params"]) for group in self.entries]
        except (KeyError, TypeError):
            raise ValueError(
                "a group in param_groups has lost its entry 'params'; put it back"
            ) from None
        leaves = [leaf for i, tree in enumerate(trees) for leaf in self._leaves(i, tree)]
        tensors = list(map(self._successor, self.tensors, leaves))
        self._backend.check_overlap(tensors)
        for group, tree in zip(self.entries, trees, strict=True):
            group["params"] = tree
        self.tensors[:] = tensors
        self._contents = list(map(Contents, trees))
        return True

    def _leaves(self, i: int, tree: Any) -> list[Any]:
        """Return the arrays of a group, whose structure must be what it was."""
        try:
            return list(flatten_like(self.specs[i], tree, f"param_groups[{i}]['params']"))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{error}; add_param_group adds parameters, none can be taken away"
            ) from None

    def _successor(self, old: Tensor, array: Any) -> Tensor:
        """Return the parameter that this array is in the place of ``old``."""
        if array is old.owner:
            return old
        new = self._backend.adopt(old.name, array)
        found, expected = ((t.shape, dtype_of(t.array).name) for t in (new, old))
        if found != expected:
            raise ValueError(
                f"{old.name} is another array now, of shape {found[0]} and dtype {found[1]}; "
                f"expected {expected[0]} and {expected[1]}, as when the optimizer was made"
                f"{see('in_place.md')}"
            )
        new.state = old.state
        return new

    def numbers(self, steps_taken: int) -> list[dict[str, Any]]:
        """Return each group's hyperparameters at the next step: schedules as numbers."""
        hyper = [{name: group[name] for name in self._defaults} for group in self.entries]
        return [
            numbers_at(self._rule, values, steps_taken, self._where(i))
            for i, values in enumerate(hyper)
        ]

    def changed(self, steps_taken: int) -> list[GroupHyper] | None:
        """Return the hyperparameters of the next step, or None if they are what they were.

        They were changed from outside, or a schedule changes them. Also brings ``takes_part`` up
        to date.

        Raises TypeError or ValueError for what cannot be used.
        """
        names = self._names
        try:
            now = list(map(self._read, self.entries))
        except KeyError as error:
            raise ValueError(
                f"a group in param_groups has lost its entry {error}; put it back"
            ) from None
        for i, group in enumerate(self.entries):
            if len(group) - ("name" in group) != len(names) + 1:
                raise _has_too_much(group, names, self._where(i))
        try:
            same = now == self._seen
        except ValueError:  # an array where a number belongs
            same = False
        if same:  # but for what schedules say
            if not any(self._scheduled):
                return None
            return [
                hyper.at(rule, entry, names, steps_taken, self._where(i))
                for i, (hyper, rule, entry, names) in enumerate(
                    zip(self._hyper, self.rules, self.entries, self._scheduled, strict=True)
                )
            ]
        numbers = self.numbers(steps_taken)
        for i, rule in enumerate(self.rules):
            rule.check_options(numbers[i], self._where(i))
        # what can change in place, such as a list of betas, has to be read at every step
        steady = all(is_fixed(value) or callable(value) for values in now for value in values)
        self._seen = now if steady else None
        self._scheduled = [
            [name for name, value in zip(names, values, strict=True) if callable(value)]
            for values in now
        ]
        takes_part = [not self.entries[clock.group]["frozen"] for clock in self.clocks]
        if takes_part != self.takes_part:
            self.takes_part = None if all(takes_part) else takes_part
        self._hyper = list(map(GroupHyper, numbers))
        return self._hyper

    def _where(self, i: int) -> str:
        """Return the beginning of a message about a group."""
        return "" if len(self.entries) == 1 else f"group {i}: "


def is_group(group: Any) -> bool:
    """Say whether this is a group of parameters, not parameters."""
    return isinstance(group, Mapping) and "params" in group


def name_entry(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry ``"name"`` of a group that has one."""
    return {"name": group["name"]} if "name" in group else {}


def listed_group(group: Any) -> Any:
    """Return a group with a list of parameters where there was an iterator."""
    return {**group, "params": listed(group["params"])} if is_group(group) else group


def as_groups(params: Any) -> tuple[list[Any], bool]:
    """Return the groups that ``params`` are, and whether it is a single one, not written as such.
    Raise TypeError for a group without a list around it."""
    params = listed(params)
    if isinstance(params, (list, tuple)) and params and all(map(is_group, params)):
        return list(map(listed_group, params)), False
    if is_group(params) and (others := [k for k, v in params.items() if _is_no_array(v)]):
        raise TypeError(
            f"params is a dict with 'params' and {others[0]!r}, which is no array; a parameter group "
            "stands in a list: [{'params': ..., " + f"{others[0]!r}: ...}}]"
        )
    return [{"params": params}], True


def _is_no_array(value: Any) -> bool:
    """Say whether this can be a hyperparameter, or a name, and no parameter."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return bool(values) and all(
        isinstance(v, (bool, int, float, str)) or callable(v) for v in values
    )


def _hyper_of(group: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the hyperparameters of a group."""
    if found := [name for name in WHOLE if name in group]:
        raise TypeError(f"{where}{found[0]} belongs to the whole optimizer, not to a group")
    return {k: v for k, v in group.items() if k not in ("params", *OF_GROUPS)}


def _has_too_much(group: Mapping[str, Any], names: Sequence[str], where: str) -> TypeError:
    """Make the error for a group with other entries than ``params`` and these."""
    _hyper_of(group, where)
    unknown = next(name for name in group if name not in ("params", "name", *names))
    hint = suggestion(unknown, names)
    return TypeError(
        f"{where}nothing reads the entry {unknown!r}; {hint}a group has {', '.join(names)}"
    )
