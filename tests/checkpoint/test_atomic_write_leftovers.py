"""Writing a file as a whole: what killed processes leave, and processes side by side."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys

import pytest
from samestep.checkpoint import atomic_write
from samestep.checkpoint.atomic_write import SUFFIX, write_atomically


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def temporary(path, digits="0123456789abcdef"):
    return path.with_name(f".{path.name}.{digits}{SUFFIX}")


def test_leftovers_are_removed_and_nothing_else(path):
    others = [
        temporary(path.with_name("other")),
        temporary(path, "0123"),
        temporary(path, "x123456789abcdef"),
        path.with_name(f"{path.name}{SUFFIX}"),
        path.with_name(f"{temporary(path).name}.keep"),
    ]
    saving = temporary(path, "f" * 16)
    for each in (*others, saving, temporary(path), temporary(path, "a" * 16)):
        each.write_bytes(b"x")
    with open(saving, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a process does that is saving
        write_atomically(path, [b"new"])
        assert names(path.parent) == sorted(p.name for p in [*others, saving, path])
    write_atomically(path, [b"new"])
    assert names(path.parent) == sorted(p.name for p in [*others, path])


def test_a_file_taken_for_a_leftover_before_it_is_locked_is_made_anew(path, monkeypatch):
    create, taken = os.open, []

    def open_and_lose(name, *more):
        descriptor = create(name, *more)
        if str(name).endswith(SUFFIX) and len(taken) < 2:
            taken.append(name)
            os.unlink(name)
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    write_atomically(path, [b"new"])
    assert len(taken) == 2
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file"]


def test_a_folder_without_locks(path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(atomic_write.fcntl, "flock", no_locks)
    temporary(path).write_bytes(b"perhaps somebody's")
    write_atomically(path, [b"new"])
    assert path.read_bytes() == b"new"
    assert temporary(path).exists()


def test_several_processes_may_save_to_one_file_at_once(path):
    script = """
import sys
from samestep.checkpoint.atomic_write import write_atomically
for number in range(100):
    write_atomically(sys.argv[1], [bytes([int(sys.argv[2]) * 50 + number % 50]) * 65_536] * 4)
"""
    write_atomically(path, [bytes(4 * 65_536)])
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(path), str(k)]) for k in range(4)
    ]
    seen = set()
    while any(child.poll() is None for child in children):
        contents = path.read_bytes()
        assert len(contents) == 4 * 65_536
        assert len(set(contents)) == 1
        seen.add(contents[0])
    assert [child.returncode for child in children] == [0] * 4
    assert len(seen) > 10
    assert names(path.parent) == ["file"]
