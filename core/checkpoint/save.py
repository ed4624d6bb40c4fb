"""Saves a run: parameters, state and all else that the next step depends on, in one file.

The file is a tree of plain values whose arrays are tensors: the state dict, the parameters, and
the defaults of groups to come. ``docs/checkpoints.md`` specifies it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

from numpy.typing import NDArray

from ..language.dtypes import REAL_OF_COMPLEX, name_of
from ..step.run import Run
from ..version import __version__
from .atomic_write import write_atomically
from .file import file_pieces
from .parameter_names import parameter_names
from .plain_json import Encoder
from .state_dict import take

VERSIONS = (1, 2)  # of the format: 2 has groups with rules of their own


def save(run: Run, path: str | PathLike[str]) -> None:
    """Write a run to a file; see `samestep.Optimizer.save`."""
    names = parameter_names(run.groups.tensors)
    on_host = functools.partial(run.backend.to_numpy, copied=False)
    params = {i: on_host(tensor.array) for i, tensor in enumerate(run.groups.tensors)}
    snapshot = {"param": params, **take(run, copied=False), "defaults": run.defaults}
    mixed = any("rule" in group for group in snapshot["param_groups"])
    version = VERSIONS[mixed]
    tree = {"format_version": version, "library_version": __version__, "names": names}
    for key, value in snapshot.items():
        by_position = isinstance(value, Mapping) and all(isinstance(i, int) for i in value)
        tree[key] = {names[i]: entry for i, entry in value.items()} if by_position else value
    encoder = Encoder()
    metadata = json.dumps(encoder.encode(tree), separators=(",", ":"), allow_nan=False)
    arrays = {name: as_reals(array) for name, array in encoder.arrays.items()}
    write_atomically(path, file_pieces(metadata, arrays))


def as_reals(array: NDArray[Any]) -> NDArray[Any]:
    """Return a complex array as one of reals with one axis more, a pair; the same memory."""
    real = REAL_OF_COMPLEX.get(name_of(array.dtype))
    return array[..., None].view(real) if real else array
