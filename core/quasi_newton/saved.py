"""Snapshots of L-BFGS and the file it is saved to, one of `samestep.checkpoint.file`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from ..checkpoint.atomic_write import write_atomically
from ..checkpoint.file import CheckpointFile, file_pieces, parse_json
from ..checkpoint.parameter_names import group_by_name, in_order
from ..checkpoint.pickling import backend_here
from ..checkpoint.plain_json import Decoder, Encoder
from ..checkpoint.save import as_reals
from ..interrupts import held
from ..language.dtypes import REAL_OF_COMPLEX, dtype_of
from ..parameters.trees import flatten, listed
from ..version import __version__
from .options import NAMES, Options
from .run import Run

FORMAT_VERSION = "lbfgs 1"
COUNTS = ("iterations", "evaluations")
KEYS = ("options", *COUNTS, "order", "s", "y", "s_dot_y", "y_dot_y")


def take(run: Run) -> dict[str, Any]:
    """Take a snapshot; see `samestep.LBFGS.state_dict`."""
    return {**_take(run), **({"param_names": run.names} if run.names is not None else {})}


def _take(run: Run) -> dict[str, Any]:
    """Take a snapshot without the names of parameters, which a file has itself."""
    pairs, vectors = run.pairs, run.vectors
    k = len(pairs.order)  # slots are taken from the first one on
    to_numpy, nothing = run.backend.to_numpy, np.zeros((0, vectors.size))
    return {
        "options": {name: getattr(run.options, name) for name in NAMES},
        **{name: getattr(run, name) for name in COUNTS},
        "order": list(pairs.order),
        **{name: np.array([to_numpy(v) for v in getattr(vectors, name)[:k]] or nothing)
           for name in ("s", "y")},
        **{name: np.array(getattr(pairs, name))[:k, :k] for name in ("s_dot_y", "y_dot_y")},
    }  # fmt: skip


def restore(run: Run, snapshot: Mapping[str, Any]) -> None:
    """Restore a snapshot. Raises TypeError or ValueError, before anything is changed, if it is none
    or does not fit."""
    if not isinstance(snapshot, Mapping) or {*snapshot} - {"param_names"} != {*KEYS}:
        raise ValueError(f"this is no state dict of L-BFGS: expected a dict with {', '.join(KEYS)}")
    options = _checked_options(snapshot["options"])
    counts = {name: snapshot[name] for name in COUNTS}
    for name, count in counts.items():
        if type(count) is not int or count < 0:
            raise ValueError(
                f"{name} in the state dict is {count!r}; expected a whole number from 0 on"
            )
    if options.history != run.options.history:
        raise ValueError(
            f"the state dict is of history={options.history}, this optimizer has {run.options.history}; make "
            f"one with history={options.history}"
        )
    order = snapshot["order"]
    if (
        not isinstance(order, list)
        or {*order} != {*range(len(order))}
        or len(order) > options.history
    ):
        raise ValueError(
            f"order must be the slots of up to {options.history} pairs, not {order!r:.80}"
        )
    k, size = len(order), run.vectors.size
    arrays = {name: np.asarray(snapshot[name]) for name in KEYS[4:]}
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise TypeError(f"{name} in the state dict has dtype {array.dtype}; expected float64")
        expected = (k, size) if name in ("s", "y") else (k, k)
        if array.shape != expected:
            raise ValueError(
                f"{name} in the state dict has shape {array.shape}; expected {expected}, for {size} "
                "numbers in all parameters"
            )
    columns = _columns(run, snapshot)
    run.options = options
    run.pairs.order = list(order)
    for slot in range(k):
        for name in ("s", "y"):
            run.vectors.copy(getattr(run.vectors, name)[slot], arrays[name][slot][columns])
        for name in ("s_dot_y", "y_dot_y"):
            getattr(run.pairs, name)[slot][:k] = arrays[name][slot].tolist()
    for name, count in counts.items():
        setattr(run, name, count)


def _columns(run: Run, snapshot: Mapping[str, Any]) -> Any:
    """Return which number of a saved vector is at each place of the run's own vectors: parameters
    may have another order. They are found by their names where both have names. Raises TypeError or
    ValueError for other names."""
    sizes = run.parameters().sizes
    group = {**snapshot, "params": list(range(len(sizes)))}
    places = group_by_name(group, run.names, "the state dict ")["params"]
    saved = [size for _, size in sorted(zip(places, sizes, strict=True))]
    ends = np.cumsum(saved)
    return np.concatenate([np.arange(ends[i] - saved[i], ends[i]) for i in places])


def _checked_options(saved: Any) -> Options:
    """Return the options of a snapshot. Raises TypeError or ValueError for others than there
    are."""
    if not isinstance(saved, Mapping) or {*saved} != {*NAMES}:
        raise ValueError(
            f"options in the state dict must be a dict with {', '.join(NAMES)}, not {saved!r:.80}"
        )
    options = Options(**saved)
    options.check()
    return options


def unpickled(saved: Mapping[str, Any]) -> Run:
    """Return the run that was pickled, on the backend that runs here."""
    params, snapshot = saved["params"], saved["snapshot"]
    backend = backend_here(saved["backend"], flatten(params, "params")[0])
    run = Run(params, backend, Options(**snapshot["options"]))
    restore(run, snapshot)
    return run


def save(run: Run, path: str | PathLike[str]) -> None:
    """Write parameters and state to a file; see `samestep.LBFGS.save`."""
    leaves, names, _ = flatten(run.params, "group[0]")
    params = [run.backend.to_numpy(leaf, copied=False) for leaf in leaves]
    tree = {
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "names": names,
        "param": dict(zip(names, params, strict=True)),
        "state": _take(run),
    }
    encoder = Encoder()
    metadata = json.dumps(encoder.encode(tree), separators=(",", ":"), allow_nan=False)
    arrays = {name: as_reals(array) for name, array in encoder.arrays.items()}
    write_atomically(path, file_pieces(metadata, arrays))


def load(path: str | PathLike[str], params: Any, backend: str | None) -> Run:
    """Return an optimizer that goes on from a file; see `samestep.LBFGS.load`."""
    with CheckpointFile(path) as file:
        with file.doubts():
            tree = _read_tree(file)
            (params,) = in_order([listed(params)], tree["names"], "a history is of all of them")
            options = _checked_options(tree["state"]["options"])
        run = Run(params, backend, options)
        with file.doubts():
            leaves = flatten(params, "params")[0]
            for leaf, (name, saved) in zip(leaves, tree["param"].items(), strict=True):
                found = tuple(leaf.shape), dtype_of(leaf).name
                if found != (saved.shape, saved.dtype.name):
                    raise ValueError(
                        f"{name} has shape {found[0]} and dtype {found[1]}; saved were {saved.shape} "
                        f"and {saved.dtype}"
                    )
            restore(run, tree["state"])
        file.check_unchanged()
    with held():
        for leaf, saved in zip(leaves, tree["param"].values(), strict=True):
            run.backend.copy_into(leaf, saved)
        run.parameters().mark_changed()
    return run


def _read_tree(file: CheckpointFile) -> dict[str, Any]:
    """Read all that was saved."""

    def tensor(name: str, dtype: str) -> Any:
        array = file.read(name)
        return array.view(dtype)[..., 0] if dtype in REAL_OF_COMPLEX else array

    saved = parse_json(file.metadata)
    if saved["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"has format version {saved['format_version']!r}, LBFGS reads {FORMAT_VERSION!r}; files "
            "of other optimizers are read by their own load"
        )
    tree: dict[str, Any] = Decoder(tensor).decode(saved)
    return tree
