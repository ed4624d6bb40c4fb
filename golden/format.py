"""Golden files: safetensors whose metadata is one JSON string. ``README.md`` specifies them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from ..language.around import name_inside
from ..language.dtypes import numpy_dtype
from ..language.names import suggestion

Array = NDArray[Any]
FORMAT_VERSION = 2
KEY = "samestep"  # the only metadata key: safetensors writes several in random order
EXTENSION = ".safetensors"
VALUES = Path(__file__).parent / "values"
DTYPES = {
    "F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16", "I16": "int16",
    "I8": "int8", "U8": "uint8",
}  # fmt: skip


class HasKeys(Protocol):
    @property
    def keys(self) -> set[str]: ...


Named = TypeVar("Named", bound=HasKeys)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The JSON fields, in words in ``README.md``."""

    rule: str
    label: str
    options: dict[str, bool | int | str | None]
    dtype: str
    compute_dtype: str
    hyperparameters: dict[str, Any]
    changes: dict[str, dict[str, Any]]
    steps: int
    stored_steps: list[int]
    tensors: list[str]
    states: list[str]
    initial_state: dict[str, float]
    scalars: list[str]
    carry: list[str]
    initial_carry: dict[str, float]
    truth: dict[str, Any] | None
    provenance: str
    shared: dict[str, str | None] | None = None
    settings: dict[str, Any] | None = None
    tolerance: float | None = None
    state_tolerance: dict[str, float] | None = None
    format_version: int = FORMAT_VERSION

    @property
    def name(self) -> str:
        """``<label>.<dtype>``: the file's name without its extension."""
        return f"{self.label}.{self.dtype}"

    @property
    def base(self) -> str:
        """The name of the rule that the hyperparameters put parts around."""
        return name_inside(self.rule, self.hyperparameters)

    def hyper_at(self, step: int) -> dict[str, Any]:
        """Return the hyperparameters of one step (counted from 1): those of the file and the
        changes up to this step."""
        hyper = dict(self.hyperparameters)
        for since in sorted(self.changes, key=int):
            if int(since) <= step:
                hyper |= self.changes[since]
        return hyper


@dataclass(frozen=True)
class Golden:
    """The contents of a golden file."""

    header: Header
    tensors: dict[str, Array] = field(repr=False)

    @property
    def keys(self) -> set[str]:
        """The names that select it, see `chosen`."""
        return {self.header.base, self.header.label, self.header.name}

    def parameters(self) -> dict[str, Array]:
        """Return the initial parameters: fresh copies, to be updated in place."""
        return {name: self.tensors[f"param.0.{name}"].copy() for name in self.header.tensors}

    def gradients(self, step: int) -> dict[str, Array | None]:
        """Return the gradients of one step, None where a parameter has none."""
        return {name: self.tensors.get(f"grad.{step}.{name}") for name in self.header.tensors}

    def results(self) -> dict[str, Array]:
        """The tensors that an implementation must reproduce: all but inputs and truth."""
        inputs = ("param.0.", "grad.", "truth.")
        return {name: a for name, a in self.tensors.items() if not name.startswith(inputs)}


def to_bytes(golden: Golden) -> bytes:
    """Return a file's contents; the same input gives the same bytes. NaN lose their payload."""
    fields = asdict(golden.header)
    for name in ("shared", "settings", "tolerance", "state_tolerance"):
        if fields[name] is None:
            del fields[name]
    text = json.dumps(fields, sort_keys=True, allow_nan=False, separators=(",", ":"))
    tensors = {name: _canonical(a) for name, a in golden.tensors.items()}
    return save(tensors, {KEY: text})


def from_bytes(data: bytes, name: str = "golden file") -> Golden:
    """Read what `to_bytes` wrote.

    Raises
    ------
    ValueError
        If it is not a golden file of this format version; ``name`` is what the message calls it.
    """
    try:
        tensors = {key: _array(view) for key, view in deserialize(data)}  # type: ignore[no-untyped-call]
        length = int.from_bytes(data[:8], "little")
        fields = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])
        version = fields["format_version"]
        if version == FORMAT_VERSION:
            return Golden(Header(**fields), tensors)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is not a golden file: {error!r}") from error
    raise ValueError(f"{name} has format version {version}; this reads {FORMAT_VERSION}")


def own_folder(folder: Path) -> Path:
    """Return a folder of this package's, to write to. Raises ValueError if that is an
    installation."""
    if not (folder.parent.parent / "pyproject.toml").is_file():
        raise ValueError(f"{folder} is of an installation; say which folder to write to (--out)")
    return folder


def read(path: Path | str) -> Golden:
    """Read a golden file. Raises ValueError if it is none, OSError if it cannot be read."""
    return from_bytes(Path(path).read_bytes(), str(path))


def chosen(items: Iterable[Named], names: Sequence[str] | None) -> list[Named]:
    """Return the items that ``names`` select, all of them if that is None. A name is that of a rule
    (``"adam"``: all variants and dtypes), a label (``"adam_amsgrad"``) or a case
    (``"adam_amsgrad.float32"``).

    Raises
    ------
    ValueError
        For a name that selects nothing.
    """
    items = list(items)
    if names is None:
        return items
    known = {key for item in items for key in item.keys}
    if unknown := [name for name in names if name not in known]:
        hint, labels = suggestion(unknown[0], known), sorted(key for key in known if "." not in key)
        raise ValueError(
            f"no golden case {', '.join(unknown)}; {hint}there are {', '.join(labels)}, "
            "with .float32 or another dtype for one file of them"
        )
    return [item for item in items if item.keys & set(names)]


def _canonical(array: Array) -> Array:
    array = array.copy(order="C")  # safetensors writes memory as it lies
    if array.dtype.kind not in "iu":
        array[np.isnan(array)] = np.nan
    return array


def _array(view: Mapping[str, Any]) -> Array:
    dtype = numpy_dtype(DTYPES[view["dtype"]])
    return np.frombuffer(view["data"], dtype).reshape(view["shape"])
