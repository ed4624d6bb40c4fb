"""The format of checkpoints: what the safetensors package and a few lines of one's own make of
them, and files that are not what was written."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import samestep as ss
import torch
from checkpoint_cases import arrays, assert_file_refused, written
from checkpoint_mutators import header_of, sealed, with_header
from helpers import ROOT, leaves, run_python
from safetensors import SafetensorError, deserialize, safe_open
from samestep.checkpoint import CheckpointError
from samestep.checkpoint.file import HEADER_LIMIT, CheckpointFile, file_pieces
from samestep.golden.compare import same_bits


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def test_the_safetensors_package_reads_the_same_arrays(path):
    optimizer = written(path, arrays())
    found = {name: view for name, view in deserialize(path.read_bytes())}  # noqa: C416
    with CheckpointFile(path) as file:
        assert set(found) == {*file.tensors, "checksum"}
        for name in file.tensors:
            ours = file.read(name)
            assert ours.tobytes() == bytes(found[name]["data"])
            assert list(ours.shape) == found[name]["shape"]
    names = json.loads(_metadata(path))["names"]
    for name, param in zip(names, leaves(optimizer), strict=True):
        values = np.frombuffer(found[f"param/{name}"]["data"], param.dtype).reshape(param.shape)
        assert values.tobytes() == param.tobytes()
    with safe_open(path, "numpy") as opened:
        assert set(opened.metadata()) == {"samestep"}
        assert opened.get_tensor("param/group[0]['layers'][0]['bias']").shape == (4,)


def _metadata(path):
    return json.loads(header_of(path.read_bytes())[0])["__metadata__"]["samestep"]


def test_arrays_begin_at_multiples_of_their_size(path):
    optimizer = written(path, arrays())
    sizes = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "U8": 1}
    data = path.read_bytes()
    header, _ = header_of(data)
    assert len(header) % 8 == 0
    fields = json.loads(header)
    del fields["__metadata__"]
    assert len(fields) == 3 * len(leaves(optimizer)) + 1
    for entry in fields.values():
        assert entry["data_offsets"][0] % sizes[entry["dtype"]] == 0


def test_the_checksum_is_that_of_all_bytes_before_it(path):
    written(path)
    data = path.read_bytes()
    assert data[-32:] == hashlib.sha256(data[:-32]).digest()
    text = (ROOT / "docs/checkpoints.md").read_text(encoding="utf-8")
    script = text.split("```python\n")[-1].split("```")[0]  # a reader of one's own
    printed = run_python(script.replace('"run.safetensors"', repr(str(path))))
    assert "param/group[0][0]" in printed
    assert "float64" in printed


def test_the_same_optimizer_gives_the_same_bytes_in_any_process(path, tmp_path):
    script = """
import numpy as np, samestep as ss
params = {name: np.ones(3) for name in "abcdefgh"}
optimizer = ss.AdamW(params, backend="numpy")
optimizer.step({name: np.ones(3) for name in params})
optimizer.save(PATH)
"""
    files = [tmp_path / f"{seed}.safetensors" for seed in (1, 2, 3)]
    for seed, file in enumerate(files):
        run_python(script.replace("PATH", repr(str(file))), PYTHONHASHSEED=str(seed))
    assert len({file.read_bytes() for file in files}) == 1


# ---- files that are not what was written


def test_every_bit_that_is_turned_is_noticed(path):
    written(path)
    data = path.read_bytes()
    every = range(8 * len(data))
    for bit in (*every[:64], *every[64::97], *every[-300:]):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert_file_refused(path, "damaged|cut short|not that of one")


def test_a_file_cut_anywhere_is_refused(path):
    written(path)
    data = path.read_bytes()
    for length in (*range(60), *range(60, len(data), 41), len(data) - 1):
        path.write_bytes(data[:length])
        assert_file_refused(path, "damaged|cut short|not that of one")


def test_files_that_are_something_else_are_refused(path, tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "torch.pt")
    np.save(tmp_path / "array.npy", np.ones(3))
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("a", "b")
    (tmp_path / "pickle").write_bytes(pickle.dumps(ss.SGD([np.ones(3)])))
    (tmp_path / "empty").write_bytes(b"")
    for name in ("torch.pt", "array.npy", "archive.zip", "pickle", "empty"):
        assert_file_refused(tmp_path / name, "is no checkpoint")
    golden = next((ROOT / "golden/values").glob("adamw.float32*"))
    with pytest.raises(CheckpointError, match="is damaged: its checksum"):
        ss.Optimizer.load(golden, [np.ones(3)])  # it has the same key in its metadata, no checksum
    from safetensors.numpy import save_file

    save_file({"a": np.ones(30)}, path)
    assert_file_refused(path, "is no checkpoint of samestep")
    assert_file_refused(tmp_path, "is not a regular file")
    os.mkfifo(tmp_path / "pipe")
    assert_file_refused(tmp_path / "pipe", "is not a regular file")


def test_a_pickle_is_not_run(path, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    path.write_bytes(pickle.dumps(Bomb()))
    assert_file_refused(path, "is no checkpoint")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("length", [HEADER_LIMIT + 1, 2**31, 2**63, 2**64 - 1])
def test_a_header_that_says_it_is_huge_is_refused(length, path):
    written(path)
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    assert_file_refused(path, f"is no checkpoint or has been cut short: .* {length} should be")


def test_a_huge_header_is_refused_although_it_is_there(path):
    with open(path, "wb") as file:
        file.write((HEADER_LIMIT + 8).to_bytes(8, "little"))
        file.truncate(2 * HEADER_LIMIT)  # a file with a hole takes no space
    assert_file_refused(path, f"at most {HEADER_LIMIT} can be")


@pytest.mark.parametrize("number", [False, 0.0, -0.0])
def test_an_offset_that_only_equals_zero_is_refused(number, path):
    """As the safetensors package refuses it, whatever the checksum."""
    written(path, arrays())
    fields = json.loads(header_of(path.read_bytes())[0])
    first = next(v for v in fields.values() if v.get("data_offsets", [1])[0] == 0)
    first["data_offsets"][0] = number
    header = json.dumps(fields, separators=(",", ":")).encode()
    path.write_bytes(sealed(with_header(path.read_bytes(), header)))
    with pytest.raises(SafetensorError):
        deserialize(path.read_bytes())
    with pytest.raises(CheckpointError, match=r"data_offsets.*expected"), CheckpointFile(path):
        pass


def test_what_no_reader_would_accept_is_not_written(monkeypatch):
    with pytest.raises(TypeError, match="a has dtype int64; a file holds"):
        file_pieces("", {"a": np.ones(3, int)})
    monkeypatch.setattr("samestep.checkpoint.file.HEADER_LIMIT", 1000)
    assert b"".join(file_pieces("x" * 800, {}))
    with pytest.raises(ValueError, match="safetensors files may have 1000"):
        file_pieces("x" * 1000, {})


def test_a_file_that_changes_while_it_is_read_is_refused(path, monkeypatch):
    written(path)
    data = path.read_bytes()
    read = CheckpointFile._check_checksum

    def meanwhile(change):
        def check(self):
            read(self)
            change()

        monkeypatch.setattr(CheckpointFile, "_check_checksum", check)

    meanwhile(lambda: os.truncate(path, len(data) - 40))
    assert_file_refused(path, "do not fill|cut short while")
    path.write_bytes(data)
    meanwhile(lambda: path.write_bytes(bytes(len(data))))
    assert_file_refused(path, "was written to while it was read")
    path.write_bytes(data)
    meanwhile(lambda: written(path))  # replaced: the file that was opened is whole
    assert ss.Optimizer.load(path, [np.zeros(3)]).steps == [1]


def test_reading_gives_what_was_written_bit_for_bit(path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, 4_000_000, dtype=np.uint8).view(np.float32)
    path.write_bytes(b"".join(file_pieces("{}", {"a": values.reshape(1000, 1000)[::3, ::-2]})))
    with CheckpointFile(path) as file:
        assert file.read("a").tobytes() == values.reshape(1000, 1000)[::3, ::-2].tobytes()
        backwards = np.empty((500, 334), np.float32).T
        file.read_into("a", backwards)
    assert same_bits(backwards.view(), values.reshape(1000, 1000)[::3, ::-2])
