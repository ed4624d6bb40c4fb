"""A rule: one optimizer's arithmetic, as data and two plain functions.

``scalars(xp, step, carry, h)`` computes, once per step in float64, everything that is equal for
all elements of a parameter; ``update(xp, s, param, grad, *state)`` says what happens to each
element. Both run as they stand and can be traced and printed.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .around import DEFAULTS
from .blockwise import BLOCKWISE, scales_of
from .codecs import StateDtype, checked_state_dtype, named_codecs, without_sign
from .descent import descent
from .hyperparameters import Hyper, Option, checked_hyperparameter, chosen_options, is_count
from .kept import RESULTS
from .keywords import known_keywords
from .names import suggestion
from .rounding import ROUNDINGS, checked_rounding
from .rule_checks import check_definition, check_functions
from .signs import never_negative
from .variants import rebuilt, stored, variant

CLIPS = ("clip_value", "clip_norm")  # hyperparameters of every rule, see samestep.language.clipping


@dataclass(frozen=True, eq=False)
class Rule:
    """An optimizer's update rule.

    Parameters
    ----------
    name : str
        What errors, files and printed kernels call it.
    scalars : callable
        ``scalars(xp, step, carry, h) -> (row, carry)``: ``step`` counts from 1 and is a float64,
        ``h`` has the hyperparameters as attributes, ``carry`` what earlier steps left; ``row`` is
        a dict of float64 values, each rounded once to the compute dtype. Runs on the host.
    update : callable
        ``update(xp, s, param, grad, *state) -> (param, *state)``, elementwise in the compute
        dtype. Its argument names are the state's names.
    delta : callable
        ``delta(xp, s, param, grad, *state) -> (delta, *state)``: instead of ``update``, what is
        subtracted from the parameter; such a rule can be composed, see `samestep.parts`.
    decay : callable
        ``decay(xp, s, param, delta)``: what weight decay subtracts besides ``delta``.
    defaults : mapping
        Hyperparameters with default values: floats, tuples of floats (``betas``), or booleans,
        which ``scalars`` gets as 0.0 or 1.0.
    bounds : mapping
        Hyperparameter name to the `Interval` it must lie in (a tuple of them for a tuple whose
        entries differ). The usual names have the usual bounds; all others must be finite.
    initial : mapping
        State name to its initial value: a number, or a hyperparameter's name. Default 0.
    per : mapping
        State name to ``"row"``, ``"column"`` or ``"tensor"`` if it is smaller than the parameter:
        of shape ``shape[:1]``, ``shape[1:]`` or ``()``, real for complex parameters, too. Or
        ``"row_pair"`` or ``"column_pair"``: a square state of the parameter seen as a matrix, for
        functions such as ``xp.row_gram``; ``"row_rank"`` or ``"column_rank"``, or ``"longer_rank"``
        or ``"shorter_rank"`` of whichever there are more or fewer: a thin state, for functions such
        as ``xp.outer_product``.
    rank : int
        How many numbers a thin state has for each row or column; fewer of a parameter that has
        fewer rows or columns. 0 for a rule without such states.
    carry : mapping
        Host state per parameter, float64: name to initial value.
    shared : mapping
        The carried numbers that all parameters of the rule have in common: name to the state, kept
        per tensor, whose sum over all parameters is added to it after each step, or None for one
        that nothing is added to. See `samestep.step.totals`.
    options : mapping
        The structural options (booleans, names that ``choices`` has, or whole numbers) this variant
        was built with.
    choices : mapping
        Option to the names that it may be, and None if it may be left out. A numeric hyperparameter
        of the same name may be one of them instead of numbers; numbers count as None.
    factory : callable
        The function of those options that builds it. A numeric hyperparameter of the same name
        counts as a boolean option by being nonzero, and as a whole number by itself.
    shape_options : callable
        ``shape_options(shape) -> options`` that parameters of this shape need whatever was asked
        for: a rule that keeps rows and columns has another variant for vectors.
    lazy : bool
        The default of the hyperparameter of that name: whether a gradient of some rows leaves other
        rows as they are even if the rule would change them. See `samestep.step.indexed_slices`.
    reference : str
        Paper and algorithm, printed on top of generated source.
    around : mapping
        The parts around the rule: the hyperparameter that asks for each, with its value, such as
        ``master="float32"``. See `samestep.parts`.
    kept_in : mapping
        State name to the codec that stores it whatever ``state_dtype`` says, None for the compute
        dtype: for a value of the parameter, as an average is, which may be infinite.
    state_dtype : str or mapping, optional
        The default of the hyperparameter of that name: what states are stored in, see `stored_as`.
    average_share : callable
        ``average_share(h)``: of a rule whose parameter is trained at ``share * x + (1 - share) *
        z``, between its state ``z`` and the average ``x`` that is to be evaluated, the share, from
        0 to 1 without 0. Optimizers of such a rule have `eval` and `train`, and ``kept_in`` has z.
    hessian_rule : Rule, optional
        A rule over the same states, the first of these or all, that leaves the parameter:
        ``Optimizer.update_hessian`` launches it, and its ``grad`` is the caller's estimate of the
        Hessian's diagonal.
    rounding : {"nearest", "stochastic"}
        The default of the hyperparameter of that name: how what is stored in 16 bits is rounded,
        see `samestep.language.rounding`.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit each other, or a name that is taken or no identifier. What
        the two functions compute is looked at when an optimizer is made; see
        `samestep.language.text_checks.check`.
    """

    name: str
    scalars: Callable[..., tuple[dict[str, Any], Any]]
    update: Callable[..., Any] = None  # type: ignore[assignment]  # then it follows from delta
    defaults: Mapping[str, Hyper] = field(default_factory=dict)
    bounds: Mapping[str, Any] = field(default_factory=dict)
    initial: Mapping[str, float | str] = field(default_factory=dict)
    per: Mapping[str, str] = field(default_factory=dict)
    rank: int = 0
    carry: Mapping[str, float] = field(default_factory=dict)
    shared: Mapping[str, str | None] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)
    choices: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    factory: Callable[..., Rule] | None = None
    shape_options: Callable[[tuple[int, ...]], Mapping[str, bool]] | None = None
    lazy: bool = False
    reference: str = ""
    delta: Callable[..., Any] | None = None
    decay: Callable[..., Any] | None = None
    around: Mapping[str, Any] = field(default_factory=dict)
    kept_in: Mapping[str, str | None] = field(default_factory=dict)
    state_dtype: StateDtype = None
    average_share: Callable[[Any], float] | None = None
    hessian_rule: Rule | None = None
    rounding: str = ROUNDINGS[0]
    state: tuple[str, ...] = field(init=False)
    scales: Mapping[str, str] = field(init=False)  # array of scales to the state that it is of
    arrays: tuple[str, ...] = field(init=False)  # of all states, each with its scales behind it
    # the functional form, which `samestep.optimizers.functional` gives to every rule: it needs an
    # optimizer, and a rule knows of none
    init: ClassVar[Callable[..., Any]]
    apply: ClassVar[Callable[..., tuple[Any, Any]]]

    def __post_init__(self) -> None:
        check_functions(self)
        if self.delta is not None:
            object.__setattr__(self, "update", descent(self.delta, self.decay))
        object.__setattr__(self, "state", tuple(inspect.signature(self.update).parameters)[4:])
        check_definition(self)
        if self.average_share is not None:  # z takes the steps, which fewer bits would lose
            object.__setattr__(self, "kept_in", {"z": None, **self.kept_in})
        object.__setattr__(self, "state_dtype", checked_state_dtype(self.state_dtype))
        checked_rounding(self.rounding)
        blocks = [name for name, codec in self._asked.items() if codec in BLOCKWISE]
        scales = {scales_of(name): name for name in blocks}
        object.__setattr__(self, "scales", scales)
        arrays = ((n, *[scales_of(n)] * (n in blocks)) for n in self.state)
        object.__setattr__(self, "arrays", tuple(itertools.chain.from_iterable(arrays)))
        if taken := [name for name in scales if name in {*self.state, *self.carry}]:
            raise ValueError(
                f"rule {self.name!r} has {taken[0]!r}, which is what the scales of "
                f"{scales[taken[0]]!r} are called with state_dtype={self.state_dtype!r}; "
                "rename one of them"
            )
        for name in ("defaults", "initial", "carry"):
            numbers = {key: _plain(value) for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, numbers)

    def variant(self, **options: Any) -> Rule:
        """Return the rule of this family with these structural options; the same object each
        time."""
        if self.factory is None:
            if options:
                raise TypeError(f"rule {self.name!r} has no structural options; got {options}")
            return self
        if unknown := set(options) - set(self.options):
            raise TypeError(
                f"rule {self.name!r} has no structural option {sorted(unknown)}; "
                f"it has {sorted(self.options)}"
            )
        chosen = {**self.options, **chosen_options(self, options)}
        made: Rule = variant(self.factory, tuple(chosen.items()))
        return made.stored_as(self.state_dtype, self.rounding)

    def stored_as(self, state_dtype: StateDtype, rounding: str = ROUNDINGS[0]) -> Rule:
        """Return this variant with its states stored by these codecs; the same object each time.

        Parameters
        ----------
        state_dtype : str, mapping or None
            The name of a codec of `samestep.language.codecs`, for all states of the parameter's
            size, where ``"int8"``, ``"int4"`` and ``"dynamic8"`` mean ``"uint8"``, ``"uint4"`` and
            ``"udynamic8"`` for those that are proved never to be negative; or state name to codec;
            or None, for the compute dtype.
        rounding : {"nearest", "stochastic"}
            How states and parameters that are stored in 16 bits are rounded.

        Raises
        ------
        TypeError, ValueError
            For what is no codec, a name that is no state that may have fewer bits, or a codec with
            a sign by the name of a state that is never negative.
        """
        if (state_dtype, rounding) == (self.state_dtype, self.rounding):
            return self
        key = tuple(state_dtype.items()) if isinstance(state_dtype, Mapping) else state_dtype
        made: Rule = stored(self, key, rounding)
        return made

    def for_shape(self, shape: tuple[int, ...]) -> Rule:
        """Return the variant for a parameter of this shape."""
        if self.shape_options is None:
            return self
        return self.variant(**{**self.options, **self.shape_options(shape)})

    @property
    def _asked(self) -> dict[str, str]:
        """The codecs of states that were asked for, or that ``kept_in`` has."""
        fixed = {name: codec for name, codec in self.kept_in.items() if codec is not None}
        return named_codecs(self.free, self.state_dtype) | fixed

    @functools.cached_property
    def storage(self) -> Mapping[str, str]:
        """The codec of each state that has one. One codec of blocks for all states means the one
        without a sign for those that are never negative, which traces the rule."""
        asked = self._asked
        if not isinstance(self.state_dtype, str) or not any(map(without_sign, asked.values())):
            return asked
        proved = never_negative(self)
        return {n: (n in proved and without_sign(codec)) or codec for n, codec in asked.items()}

    @functools.cached_property
    def vectors(self) -> frozenset[str]:
        """The arrays that are vectors, whatever shape the parameter has: scales of blocks, and
        codes that are two in a byte."""
        packed = (n for n in self.scales.values() if BLOCKWISE[self.storage[n]].bits == 4)
        return frozenset([*self.scales, *packed])

    @property
    def free(self) -> list[str]:
        """The states that ``state_dtype`` may store in fewer bits."""
        return [name for name in self.state if name not in self.per and name not in self.kept_in]

    @property
    def label(self) -> str:
        """The name with the options that differ from the family's defaults, but for whole numbers:
        ``adam_amsgrad``."""
        if self.factory is None:
            return self.name
        usual = self.factory().options
        parts = [
            on if isinstance(on, str) else name if on else f"no_{name}"
            for name, on in self.options.items()
            if on != usual[name] and not is_count(on)  # kernels do not depend on a whole number
        ]
        return "_".join([self.name, *parts])

    @property
    def stochastic(self) -> bool:
        """True if what is stored in 16 bits is rounded stochastically."""
        return self.rounding == "stochastic"

    @property
    def numbers(self) -> dict[str, Hyper]:
        """The hyperparameters that a row of scalars follows from, with their defaults."""
        return {**self.defaults, **({"seed": 0} if self.stochastic else {})}

    @property
    def known_hyperparameters(self) -> dict[str, Hyper]:
        """The hyperparameters that a group of this rule may set, with their defaults."""
        return {**self.options, **self.defaults, **self.common}

    @property
    def common(self) -> dict[str, Hyper]:
        """The hyperparameters that every rule has, with their defaults."""
        storage = {"state_dtype": self.state_dtype, "rounding": self.rounding, "seed": 0}
        more: dict[str, Hyper] = {"maximize": False, "lazy": self.lazy, **storage}
        parts = {name: value for name, value in DEFAULTS.items() if name not in self.defaults}
        return {**more, **parts, **self.around, **dict.fromkeys(CLIPS)}

    def hyperparameters(
        self, given: Mapping[str, Any], where: str = "", others: Iterable[str] = ()
    ) -> dict[str, Hyper]:
        """Return the defaults overridden by ``given``, checked. ``others`` are more names for the
        message, which the caller takes.

        Raises
        ------
        TypeError, ValueError
            For a name the rule does not have, or a value that `checked_hyperparameter` refuses.
        """
        known = self.known_hyperparameters
        if unknown := sorted(set(given) - set(known)):
            listed = ", ".join(map(repr, unknown))
            raise TypeError(
                f"{where}{self.name} has no hyperparameter {listed}; "
                f"{suggestion(unknown[0], [*known, *others])}it has {', '.join([*known, *others])}"
            )
        return {
            name: checked_hyperparameter(self, name, given.get(name, default), where)
            for name, default in known.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        left_out = {RESULTS} if self.delta is None else {RESULTS, "update"}
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.delta is not None:
            object.__setattr__(self, "update", descent(self.delta, self.decay))

    def __reduce__(self) -> Any:
        if self.factory is not None:
            of_storage = self.state_dtype, self.rounding
            return rebuilt, (self.factory, tuple(self.options.items()), *of_storage)
        return super().__reduce__()


Rule.__init__ = known_keywords()(Rule.__init__)  # type: ignore[method-assign]


def _plain(value: Any) -> Any:
    """Return a number as one of Python's own, which is printed as it is, without the extras of
    NumPy's; numbers in a tuple, too; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value
