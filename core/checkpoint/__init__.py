"""Checkpoints: parameters, state and all else that the next step depends on, in one file.

The file is a tree of plain values whose arrays are tensors: `Optimizer.state_dict`, the
parameters, and the defaults of groups to come. ``docs/checkpoints.md`` specifies it.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from ..choice import get_backend
from ..language.dtypes import REAL_OF_COMPLEX, dtype_of
from ..language.rule import Rule
from ..parameters.groups import as_groups
from ..parameters.trees import flatten
from ..protocol import Backend
from ..rules import find_rule
from .atomic_write import write_atomically
from .file import UNUSABLE, CheckpointError, CheckpointFile, Stored, file_pieces, parse_json
from .parameter_names import in_order, parameter_names, some
from .plain_json import Decoder, Encoder
from .state_dict import restore, take

if TYPE_CHECKING:
    from ..optimizers.optimizer import Optimizer

__all__ = ["CheckpointError", "load", "save"]
Array = NDArray[Any]
Kind = TypeVar("Kind", bound="Optimizer")
FORMAT_VERSION = 1
# what is in the file besides `Optimizer.state_dict`
OWN = ("format_version", "library_version", "names", "param", "defaults")


def save(optimizer: Optimizer, path: str | PathLike[str]) -> None:
    """Write parameters, state, step counts, hyperparameters and settings to one file.

    It is there under its name only when it is complete and on the disk: a process that is killed
    while saving leaves the previous file whole. No other thread may step meanwhile.

    Raises
    ------
    TypeError
        For what a file cannot hold, such as a hyperparameter that is a function, before
        anything is written.
    OSError
        If the file cannot be written; the previous one is then whole.
    ValueError
        If ``path`` is something else than a file.
    """
    from ..version import __version__

    names = parameter_names(optimizer._groups.specs)
    on_host = functools.partial(optimizer.backend.to_numpy, copied=False)
    params = {i: on_host(tensor.array) for i, tensor in enumerate(optimizer._groups.tensors)}
    snapshot = {"param": params, **take(optimizer, copied=False), "defaults": optimizer.defaults}
    tree = {"format_version": FORMAT_VERSION, "library_version": __version__, "names": names}
    for key, value in snapshot.items():
        by_position = isinstance(value, Mapping) and all(isinstance(i, int) for i in value)
        tree[key] = {names[i]: entry for i, entry in value.items()} if by_position else value
    encoder = Encoder()
    metadata = json.dumps(encoder.encode(tree), separators=(",", ":"), allow_nan=False)
    arrays = {name: _as_reals(array) for name, array in encoder.arrays.items()}
    write_atomically(path, file_pieces(metadata, arrays))


def load(
    path: str | PathLike[str],
    params: Any,
    *,
    backend: str | None = None,
    rule: Rule | str | None = None,
) -> Optimizer:
    """An optimizer that goes on from a file, on any backend, bit for bit.

    Parameters
    ----------
    path : path
        What `save` has written.
    params : array, nested list / tuple / dict of arrays, or list of groups
        Of the dtypes and shapes that were saved; their values become those of the file. Entries
        of a dict are found by their keys, in whatever order, those of a list by their position;
        the optimizer has them in the file's order. Where there were several groups, a list of as
        many dicts with ``"params"``; other entries of these dicts are not looked at, since all
        hyperparameters are those of the file.
    backend : str, optional
        As of `Optimizer`; on which the file was written does not matter.
    rule : Rule or str, optional
        The rule that it must be. A rule that is not built in has to be given.

    Raises
    ------
    CheckpointError
        A ValueError: for a file that is no checkpoint, is damaged, or does not fit; ``params``
        are then what they were.
    OSError
        If the file cannot be read.
    TypeError, ValueError, RuntimeError
        For parameters that no optimizer can update, or a backend that cannot run.
    """
    from ..optimizers.optimizer import Optimizer

    return load_as(Optimizer, path, params, backend, rule)


def load_as(
    kind: type[Kind],
    path: str | PathLike[str],
    params: Any,
    backend: str | None,
    rule: Rule | str | None,
) -> Kind:
    """As `load`, an instance of this subclass of `Optimizer`."""
    given, single = as_groups(params)
    groups, are_groups = [group["params"] for group in given], not single
    chosen = get_backend(backend, [leaf for g in groups for leaf in flatten(g, "params")[0]])
    with CheckpointFile(path) as file:
        with _doubts(file):
            tree = _read_tree(file)
            the_rule = _same_rule(tree["rule"], rule)
            if len(groups) != len(tree["param_groups"]):
                saved = len(tree["param_groups"])
                raise ValueError(f"has {saved} parameter groups; {len(groups)} were given")
            groups = in_order(groups, tree["names"])
        # what is wrong with the arrays themselves is raised as the constructor raises it
        tensors = _adopt(chosen, groups, are_groups)
        with _doubts(file):
            _check_params(tensors, tree)
            arguments = _with_options(groups, tree) if are_groups else groups[0]
            optimizer = kind.__new__(kind)
            _plain().__init__(
                optimizer, the_rule, arguments, backend=chosen.name, **tree["defaults"]
            )
            _restore(optimizer, tree)
        _fill(optimizer, file, tree["names"])
    return optimizer


def _plain() -> type[Optimizer]:
    from ..optimizers.optimizer import Optimizer

    return Optimizer


@contextlib.contextmanager
def _doubts(file: CheckpointFile) -> Iterator[None]:
    """Whatever goes wrong in this block is the file's fault, or that it does not fit."""
    try:
        yield
    except CheckpointError:
        raise
    except UNUSABLE as error:
        reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise file.error(reason) from error


# ---- what is in the file


def _read_tree(file: CheckpointFile) -> dict[str, Any]:
    """What was saved; parameters and state stay in the file, with `Stored` in their places."""
    visited = set()

    def tensor(name: str, dtype: str) -> Any:
        visited.add(name)
        stored, pair = file.tensors[name], dtype in REAL_OF_COMPLEX
        if stored.dtype != REAL_OF_COMPLEX.get(dtype, dtype):
            raise ValueError(f"{name} is stored as {stored.dtype}, which cannot be {dtype}")
        if pair and stored.shape[-1:] != (2,):
            raise ValueError(f"{name} is complex, but its last axis is not a pair")
        if name.startswith(("param/", "state/")):
            shape = stored.shape[:-1] if pair else stored.shape
            return Stored(dtype, shape, stored.start, stored.end)
        values = file.read(name)
        return values.view(dtype)[..., 0] if pair else values

    saved = parse_json(file.metadata)
    if saved["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"has format version {saved['format_version']!r}, written by samestep "
            f"{saved['library_version']!r}; this reads {FORMAT_VERSION}"
        )
    tree: dict[str, Any] = Decoder(tensor).decode(saved)
    if unknown := sorted(set(file.tensors) - visited):
        raise ValueError(f"has tensors that belong to nothing: {some(unknown)}")
    for key in ("param", "state"):
        if list(tree[key]) != tree["names"]:
            raise ValueError(f"{key!r} does not have one entry for each of 'names', in order")
    return tree


def _same_rule(name: str, rule: Rule | str | None) -> Rule:
    if rule is None:
        try:
            return find_rule(name)
        except ValueError as error:
            raise ValueError(f"{error}; your own rule is given as rule=") from None
    expected = find_rule(rule)
    if expected.name != name:
        raise ValueError(f"is of rule {name!r}; expected {expected.name!r}")
    return expected


def _adopt(backend: Backend, groups: list[Any], are_groups: bool) -> list[Any]:
    """The parameters as the optimizer will see them."""
    tensors = []
    for k, group in enumerate(groups):
        leaves, names, _ = flatten(group, f"group[{k}]" if are_groups else "params")
        tensors += [backend.adopt(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
    backend.check_overlap(tensors)
    return tensors


def _check_params(tensors: list[Any], tree: Mapping[str, Any]) -> None:
    for tensor, stored in zip(tensors, tree["param"].values(), strict=True):
        dtype = dtype_of(tensor.array).name
        if (tensor.shape, dtype) != (stored.shape, stored.dtype):
            raise ValueError(
                f"{tensor.name} has shape {tensor.shape} and dtype {dtype}; "
                f"saved were {stored.shape} and {stored.dtype}"
            )


# ---- the optimizer


def _with_options(groups: list[Any], tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Parameter groups with what decides about their structural options; `_restore` brings the
    rest."""
    result = []
    for params, group in zip(groups, tree["param_groups"], strict=True):
        options = {
            # momentum that has become zero since: its buffer is still there
            name: group[name] if bool(group[name]) == on else float(on)
            for name, on in group["options"].items()
        }
        result.append({"params": params, **options})
    return result


def _restore(optimizer: Optimizer, tree: Mapping[str, Any]) -> None:
    """Everything but the values of parameters and state, so that these are not read twice."""
    position = {name: i for i, name in enumerate(tree["names"])}
    snapshot = {key: value for key, value in tree.items() if key not in OWN}
    for key, value in snapshot.items():
        if isinstance(value, dict) and value.keys() <= position.keys():
            snapshot[key] = {position[name]: entry for name, entry in value.items()}
    for i, (name, arrays) in enumerate(zip(tree["names"], optimizer.state, strict=True)):
        entry = snapshot["state"][i]
        found = {n: (v.shape, v.dtype) for n, v in entry.items() if isinstance(v, Stored)}
        expected = {n: (tuple(a.shape), dtype_of(a).name) for n, a in arrays.items()}
        if found != expected:
            raise ValueError(f"{name} has the state {found}; expected {expected}")
        snapshot["state"][i] = {**entry, **arrays}
    restore(optimizer, snapshot, copied=False)


def _fill(optimizer: Optimizer, file: CheckpointFile, names: list[str]) -> None:
    """Read the values of state and, last of all, parameters."""
    for name, arrays in zip(names, optimizer.state, strict=True):
        for what, array in arrays.items():
            _read(optimizer.backend, file, f"state/{name}/{what}", array)
    file.check_unchanged()
    for name, tensor in zip(names, optimizer._groups.tensors, strict=True):
        _read(optimizer.backend, file, f"param/{name}", tensor.array)
    optimizer.backend.change_marker(optimizer._groups.tensors)()
    file.check_unchanged()


def _read(backend: Backend, file: CheckpointFile, name: str, array: Any) -> None:
    """The file's values, straight into the array's memory where NumPy can see it."""
    seen = backend.to_numpy(array, copied=False)
    file.read_into(name, _as_reals(seen))
    backend.copy_into(array, seen)


def _as_reals(array: Array) -> Array:
    """A complex array as one of reals with one axis more, a pair; the same memory."""
    real = REAL_OF_COMPLEX.get(array.dtype.name)
    return array[..., None].view(real) if real else array
