"""Loads a run from a file, on any backend; `samestep.checkpoint.save` writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from ..language.around import last_copies
from ..language.dtypes import COMPUTE_DTYPE, REAL_OF_COMPLEX, dtype_of, name_of
from ..language.hyperparameters import checked_hyperparameter
from ..language.parameter_checks import check_parameter
from ..language.rule import Rule
from ..pages import see
from ..parameters.by_name import as_groups
from ..parameters.entries import label
from ..parameters.hyper import as_held, numbers_at
from ..parameters.trees import flatten
from ..parts.by_keyword import variant_of
from ..protocol import Backend
from ..rules import find_rule
from ..step.run import Run
from ..step.settings import Settings
from .file import CheckpointFile, Stored, parse_json
from .parameter_names import in_order, some
from .partial import Loaded, fit
from .plain_json import Decoder
from .save import VERSIONS, as_reals
from .state_dict import STRUCTURE, restore, structure_of

# what is in the file besides the state dict
OWN = ("format_version", "library_version", "names", "param", "defaults")


def load(
    path: str | PathLike[str],
    params: Any,
    backend: str | None,
    rule: Rule | str | None,
    rules: Any,
    strict: bool,
    only: Rule | None = None,
) -> Run:
    """Return a run that goes on from a file; see `samestep.Optimizer.load`. ``only`` is the rule
    that all groups must have."""
    given, single, division = as_groups(params, rules)
    trees = [group["params"] for group in given]
    with CheckpointFile(path) as file:
        with file.doubts():
            tree = _read_tree(file)
            the_rule = _same_rule(tree["rule"], only or rule)
            families = _rules_of_groups(tree, given, the_rule)
            if only is not None and {*families} != {only}:
                raise ValueError(
                    f"has groups of other rules than {only.name!r}; ss.Optimizer.load takes them"
                )
            loaded = Loaded(tree["names"], {}, [])
            if not strict:
                tree, loaded = fit(tree, trees)
            groups = [
                {"params": params, "rule": own, **structure_of(saved)}
                for params, own, saved in zip(
                    in_order(trees, tree["names"]), families, tree["param_groups"], strict=True
                )
            ]
            defaults = as_held(tree["defaults"], numbers_at(the_rule, tree["defaults"], 0))
            options = [dict(group["options"]) for group in tree["param_groups"]]
            _check_places(tree)
            _check_params(groups, tree, single)
            for own, each, group, saved in zip(
                families, options, groups, tree["param_groups"], strict=True
            ):
                hyper = {name: checked_hyperparameter(own, name, group[name]) for name in STRUCTURE}
                _check_parts(variant_of(own, hyper, each), saved, tree)
        # what is wrong with the arrays themselves is raised as the constructor raises it
        run = Run(the_rule, defaults, backend, groups, single, Settings(), options, division)
        with file.doubts():
            _restore(run, tree)
        _fill(run, file, tree)
    run.loaded = loaded
    return run


# ---- what is in the file


def _read_tree(file: CheckpointFile) -> dict[str, Any]:
    """Read what was saved; parameters and state stay in the file, with `Stored` in their places."""
    visited = set()

    def tensor(name: str, dtype: str) -> Any:
        visited.add(name)
        stored, pair = file.tensors[name], dtype in REAL_OF_COMPLEX
        if stored.dtype != REAL_OF_COMPLEX.get(dtype, dtype):
            raise ValueError(f"{name} is stored as {stored.dtype}, which cannot be {dtype}")
        if pair and stored.shape[-1:] != (2,):
            raise ValueError(f"{name} is complex, but its last axis is not a pair")
        if name.startswith(("param/", "state/")):
            return Stored(dtype, stored.shape[:-1] if pair else stored.shape, stored.start)
        values = file.read(name)
        return values.view(dtype)[..., 0] if pair else values

    saved = parse_json(file.metadata)
    if saved["format_version"] not in VERSIONS:
        raise ValueError(
            f"has format version {saved['format_version']!r}, written by samestep "
            f"{saved['library_version']!r}; this reads {' and '.join(map(str, VERSIONS))}"
        )
    tree: dict[str, Any] = Decoder(tensor).decode(saved)
    if unknown := sorted(set(file.tensors) - visited):
        raise ValueError(f"has tensors that belong to nothing: {some(unknown)}")
    for key in ("param", "state"):
        if list(tree[key]) != tree["names"]:
            raise ValueError(f"{key!r} does not have one entry for each of 'names', in order")
    return tree


def _rules_of_groups(
    tree: Mapping[str, Any], given: Sequence[Mapping[str, Any]], rule: Rule
) -> list[Rule]:
    """Return the rule of each group of the file; ``rule`` is that of groups that do not say
    otherwise.

    Raises ValueError for another number of groups, and where one that was given has another rule.
    """
    groups = tree["param_groups"]
    if len(given) != len(groups):
        named = any("rule" in group for group in groups)
        advice = (
            f"; rules that were chosen by name are given as rules={see('howto/rules_by_name.md')}"
            if named
            else ""
        )
        raise ValueError(f"has {len(groups)} parameter groups; {len(given)} were given{advice}")
    found = []
    for k, (saved, group) in enumerate(zip(groups, given, strict=True)):
        name, own = saved.get("rule", rule.name), group.get("rule")
        if name == rule.name and own in (None, name):
            found.append(rule)
            continue
        try:
            found.append(_same_rule(name, own, "'rule' of its group"))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{label(k, group)}{error}") from None
    return found


def _same_rule(name: str, rule: Rule | str | None, where: str = "rule=") -> Rule:
    if rule is None:
        try:
            return find_rule(name)
        except ValueError as error:
            raise ValueError(f"{error}; your own rule is given as {where}") from None
    expected = find_rule(rule)
    if expected.name != name:
        raise ValueError(f"is of rule {name!r}; expected {expected.name!r}")
    return expected


# ---- the run


def _check_places(tree: Mapping[str, Any]) -> None:
    places = [place for group in tree["param_groups"] for place in group["params"]]
    if places != list(range(len(tree["names"]))):
        raise ValueError("the 'params' of the groups are not the positions in 'names', in order")


def _check_params(
    groups: Sequence[Mapping[str, Any]], tree: Mapping[str, Any], single: bool
) -> None:
    """Raise ValueError for parameters of other shapes and dtypes than the file has."""
    saved = iter(tree["param"].values())
    for k, group in enumerate(groups):
        leaves, names, _ = flatten(group["params"], "params" if single else f"group[{k}]")
        for leaf, name, stored in zip(leaves, names, saved, strict=False):
            if stored is None or not hasattr(leaf, "dtype"):  # what is no array, the run refuses
                continue
            shape, dtype = tuple(leaf.shape), name_of(leaf.dtype)
            if dtype not in {*COMPUTE_DTYPE, *REAL_OF_COMPLEX}:  # so it does these
                continue
            if (shape, dtype) != (stored.shape, stored.dtype):
                raise ValueError(
                    f"{name} has shape {shape} and dtype {dtype}; "
                    f"saved were {stored.shape} and {stored.dtype}"
                )


def _check_parts(rule: Rule, group: Mapping[str, Any], tree: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError where a group of the file has codecs or parts that its
    parameters cannot have, or keeps more copies of them than are there: memory would be taken for
    all."""
    copies = last_copies(rule.around)
    for place in group["params"]:
        name = tree["names"][place]
        if (stored := tree["param"][name]) is None:
            continue
        real = REAL_OF_COMPLEX.get(stored.dtype, stored.dtype)
        own = rule.for_shape(stored.shape)
        check_parameter(name, real, real != stored.dtype, stored.shape, own)
        if missing := [each for each in copies if each not in tree["state"][name]]:
            raise ValueError(f"{name} has no {missing[0]}; expected {len(copies)} last copies")


def _restore(run: Run, tree: Mapping[str, Any]) -> None:
    """Restore everything but the values of parameters and state, which are not read twice."""
    position = {name: i for i, name in enumerate(tree["names"])}
    snapshot = {key: value for key, value in tree.items() if key not in OWN}
    for key, value in snapshot.items():
        if isinstance(value, dict) and value.keys() <= position.keys():
            snapshot[key] = {position[name]: entry for name, entry in value.items()}
    for i, (name, tensor) in enumerate(zip(tree["names"], run.groups.tensors, strict=True)):
        entry, arrays = snapshot["state"][i], tensor.state
        if tree["param"][name] is None:
            continue
        found = {n: (v.shape, v.dtype) for n, v in entry.items() if isinstance(v, Stored)}
        expected = {n: (tuple(a.shape), dtype_of(a).name) for n, a in arrays.items()}
        if found != expected:
            raise ValueError(f"{name} has the state {found}; expected {expected}")
        snapshot["state"][i] = {**entry, **arrays}
    restore(run, snapshot, copied=False)


def _fill(run: Run, file: CheckpointFile, tree: Mapping[str, Any]) -> None:
    """Read the values of state and, last of all, parameters."""
    of_file = zip(tree["param"].items(), run.groups.tensors, strict=True)
    there = [(name, tensor) for (name, stored), tensor in of_file if stored is not None]
    for name, tensor in there:
        for what, array in tensor.state.items():
            _read(run.backend, file, f"state/{name}/{what}", array)
    file.check_unchanged()
    for name, tensor in there:
        _read(run.backend, file, f"param/{name}", tensor.array)
    run.backend.change_marker(run.groups.tensors)()
    file.check_unchanged()


def _read(backend: Backend, file: CheckpointFile, name: str, array: Any) -> None:
    """Read the file's values, straight into the array's memory where NumPy can see it."""
    seen = backend.to_numpy(array, copied=False)
    file.read_into(name, as_reals(seen))
    if seen is not array:
        backend.copy_into(array, seen)
