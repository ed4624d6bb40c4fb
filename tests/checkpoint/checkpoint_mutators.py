"""Ways to damage a checkpoint file."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable

import numpy as np

Random = np.random.Generator


def header_of(data: bytes) -> tuple[bytes, bytes]:
    """The header and all that comes after it."""
    length = int.from_bytes(data[:8], "little")
    return data[8 : 8 + length], data[8 + length :]


def with_header(data: bytes, header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + header_of(data)[1]


def sealed(data: bytes) -> bytes:
    """The same with a checksum that is right."""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def _two_places(rng: Random, data: bytes) -> tuple[int, int]:
    low, high = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    return low, high


# ---- of bytes


def flip_bits(rng: Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, 8 * len(data), rng.integers(1, 5)).tolist():
        changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def overwrite(rng: Random, data: bytes, other: bytes) -> bytes:
    low, high = _two_places(rng, data)
    high = min(high, low + 64)
    return data[:low] + rng.bytes(high - low) + data[high:]


def zero_a_page(rng: Random, data: bytes, other: bytes) -> bytes:
    """What a file system leaves of a block that was never written."""
    low = int(rng.integers(0, len(data))) // 512 * 512
    return (data[:low] + bytes(512) + data[low + 512 :])[: len(data)]


def truncate(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def append(rng: Random, data: bytes, other: bytes) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 200)))


def insert(rng: Random, data: bytes, other: bytes) -> bytes:
    place = int(rng.integers(0, len(data)))
    return data[:place] + rng.bytes(int(rng.integers(1, 20))) + data[place:]


def delete(rng: Random, data: bytes, other: bytes) -> bytes:
    low, high = _two_places(rng, data)
    return data[:low] + data[high:]


def swap(rng: Random, data: bytes, other: bytes) -> bytes:
    size = int(rng.integers(1, 400))
    a, b = sorted(rng.integers(0, len(data) - size, 2).tolist())
    if b < a + size:
        return flip_bits(rng, data, other)
    end = data[b + size :]
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + end


def splice(rng: Random, data: bytes, other: bytes) -> bytes:
    place = int(rng.integers(0, len(data)))
    return data[:place] + other[place:]


def edit_length(rng: Random, data: bytes, other: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    values = (0, 1, length - 1, length + 1, length + 8, len(data), len(data) - 8, 10**8, 10**8 + 1,
              2**30, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1, int(rng.integers(0, 2**63)))  # fmt: skip
    return int(rng.choice(np.array(values, np.uint64))).to_bytes(8, "little") + data[8:]


def something_else(rng: Random, data: bytes, other: bytes) -> bytes:
    """A file that was never a checkpoint."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", data)
    array = io.BytesIO()
    np.save(array, np.arange(int(rng.integers(0, 500))))
    files = (b"", b"\0", bytes(8), bytes(48), b"{}", pickle.dumps({"state": data}),
             archive.getvalue(), array.getvalue(), rng.bytes(int(rng.integers(0, 5000))),
             b"\x02\0\0\0\0\0\0\0{}", b"<!doctype html><title>404</title>")  # fmt: skip
    return files[int(rng.integers(0, len(files)))]


# ---- of what the header says

NUMBERS = (0, 1, 2, 3, -1, 7, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, 10**400, 0.5, 1e308)
OTHERS = (None, True, False, "", "F32", "F64", "U8", "I64", "float32", "adam", "nadam", [], {},
          [[]], {"$tuple": []}, {"$tuple": 3}, {"$float": "nan"}, {"$tensor": "float32"},
          {"$tensor": "nothing"}, {"$schedule": {"kind": "constant", "value": 0.5}},
          {"$schedule": {}}, {"$same": "rule"}, {"$what": 1}, {"$tuple": [], "a": 1},
          "ema", "mean", "split", "int4", "udynamic8", "stochastic", {"exp_avg": "int8"}, {"m": 1})  # fmt: skip


def _places(tree: object, path: tuple = ()) -> list[tuple]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)  # type: ignore[arg-type]
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += _places(value, (*path, key))
    return found


def _edit(rng: Random, tree: dict) -> None:
    """Change, remove, copy or rename one entry somewhere."""
    places = _places(tree)
    *path, key = places[int(rng.integers(0, len(places)))]
    inside = tree
    for step in path:
        inside = inside[step]
    what = rng.integers(0, 5)
    if what == 0:
        inside[key] = NUMBERS[int(rng.integers(0, len(NUMBERS)))]
    elif what == 1:
        inside[key] = OTHERS[int(rng.integers(0, len(OTHERS)))]
    elif what == 2:
        del inside[key]
    elif what == 3 and isinstance(inside, dict):
        inside[rng.choice(["x", "step", "__metadata__", "checksum", f"{key} ", "$a"])] = inside[key]
    else:
        values = list(inside.values()) if isinstance(inside, dict) else list(inside)
        inside[key] = values[int(rng.integers(0, len(values)))]


def _dumped(tree: object) -> bytes:
    text = json.dumps(tree, separators=(",", ":"))
    return (text + " " * (-len(text) % 8)).encode()


def edit_header(rng: Random, data: bytes, other: bytes) -> bytes:
    fields = json.loads(header_of(data)[0])
    for _ in range(rng.integers(1, 3)):
        _edit(rng, fields)
    return with_header(data, _dumped(fields))


def edit_metadata(rng: Random, data: bytes, other: bytes) -> bytes:
    fields = json.loads(header_of(data)[0])
    tree = json.loads(fields["__metadata__"]["samestep"])
    for _ in range(rng.integers(1, 3)):
        _edit(rng, tree)
    fields["__metadata__"]["samestep"] = json.dumps(tree)
    return with_header(data, _dumped(fields))


def repeat_a_name(rng: Random, data: bytes, other: bytes) -> bytes:
    header, _ = header_of(data)
    fields = json.loads(header)
    name = list(fields)[int(rng.integers(0, len(fields)))]
    again = json.dumps({name: fields[name]})[1:-1].encode()
    return with_header(data, b"{" + again + b"," + header[1:])


def strange_json(rng: Random, data: bytes, other: bytes) -> bytes:
    """Deep, long, or not quite JSON, outside or inside of the metadata."""
    depth = int(rng.integers(10, 3000))
    texts = ("[" * depth + "]" * depth, '{"samestep":' * depth + "1" + "}" * depth, "1" * 5000,
             "NaN", "Infinity", "1e999", '"\\ud800"', "[" * depth, '{"a":1,}', "{'a':1}", "",
             '"' + "\\u0000" * 50 + '"', "[]," * depth + "[]", "-0", "[" + "1," * depth + "1]")  # fmt: skip
    text = texts[int(rng.integers(0, len(texts)))]
    fields = json.loads(header_of(data)[0])
    where = rng.integers(0, 3)
    if where == 0:
        return with_header(data, b'{"samestep":' + text.encode() + b"}")
    if where == 1:
        fields["__metadata__"]["samestep"] = text
        return with_header(data, _dumped(fields))
    tree = fields["__metadata__"]["samestep"]
    name = ("rule", "names", "state", "param_groups", "defaults")[int(rng.integers(0, 5))]
    fields["__metadata__"]["samestep"] = tree.replace(f'"{name}":', f'"{name}":{text},"x":', 1)
    return with_header(data, _dumped(fields))


def change_data(rng: Random, data: bytes, other: bytes) -> bytes:
    header, rest = header_of(data)
    return data[: 8 + len(header)] + flip_bits(rng, rest, other)


Mutator = Callable[[Random, bytes, bytes], bytes]
OF_BYTES: tuple[Mutator, ...] = (
    flip_bits, overwrite, zero_a_page, truncate, append, insert, delete, swap, splice,
    edit_length, something_else,
)  # fmt: skip
OF_CONTENTS: tuple[Mutator, ...] = (
    edit_header, edit_metadata, repeat_a_name, strange_json, change_data,
)  # fmt: skip


def mutated(rng: Random, data: bytes, other: bytes) -> tuple[str, bytes, bool]:
    """The name of a way to damage ``data``, the damaged file, and whether its checksum was made
    right again. ``other`` is another file of the same size."""
    if rng.random() < 0.5:
        mutator = OF_BYTES[int(rng.integers(0, len(OF_BYTES)))]
        seal = rng.random() < 0.1
    else:
        mutator = OF_CONTENTS[int(rng.integers(0, len(OF_CONTENTS)))]
        seal = rng.random() < 0.8
    result = mutator(rng, data, other)
    seal = bool(seal and len(result) > 40)
    return mutator.__name__, sealed(result) if seal else result, seal
