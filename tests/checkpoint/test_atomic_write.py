"""Writing a file as a whole: order of syncs, permissions, links, errors."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

import pytest
from helpers import run_python
from samestep.checkpoint.atomic_write import SUFFIX, write_atomically


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# ---- what must be on the disk before what


def assert_safe(events, path, size):
    """The contents are synced, then renamed, then the folder is synced; nothing else happens."""
    (what, temporary, written), renamed, (last, folder, _) = events
    assert (what, written) == ("sync", size)
    assert re.fullmatch(rf"\.file\.[0-9a-f]{{16}}{SUFFIX}", Path(temporary).name)
    assert Path(temporary).parent == path.parent
    assert renamed == ("rename", temporary, str(path))
    assert (last, folder) == ("sync", str(path.parent))


def record(monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def recorded_fsync(descriptor):
        where = os.readlink(f"/proc/self/fd/{descriptor}")
        events.append(("sync", where, os.fstat(descriptor).st_size))
        fsync(descriptor)

    def recorded_replace(source, target):
        events.append(("rename", str(source), str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    return events


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux what is synced")
def test_contents_are_synced_then_renamed_then_the_folder_is_synced(path, monkeypatch):
    events = record(monkeypatch)
    write_atomically(path, [b"abc", memoryview(b"defg")])
    assert path.read_bytes() == b"abcdefg"
    assert_safe(events, path, 7)
    sync, rename, folder = events
    for wrong in ([rename, sync, folder], [sync, folder, rename], [sync, rename], [rename, folder],
                  [(*sync[:2], 3), rename, folder], [sync, ("rename", "/x", rename[2]), folder]):  # fmt: skip
        with pytest.raises((AssertionError, ValueError)):
            assert_safe(wrong, path, 7)


# ---- as open would


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0, 0o666)])
def test_a_new_file_has_the_permissions_that_open_gives(path, umask, expected):
    before = os.umask(umask)
    try:
        write_atomically(path, [b"a"])
        with open(path.with_name("other"), "wb"):
            pass
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert modes == {expected}


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o640])
def test_a_file_keeps_its_permissions(path, mode):
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, [b"new"])
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


def test_a_link_stays_and_what_it_points_to_is_replaced(path, tmp_path):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    path.symlink_to("folder/target")
    for contents in (b"first", b"second"):  # at first it points to nothing
        write_atomically(path, [contents])
        assert path.is_symlink()
        assert target.read_bytes() == contents
    assert names(tmp_path / "folder") == ["target"]
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links") as caught:
        write_atomically(path, [b"third"])
    assert caught.value.errno == errno.ELOOP
    assert path.is_symlink()


def test_a_name_without_a_folder_and_one_with_strange_letters(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    for name in ("plain", "[a]*?.(x)", "ümläut ..", "-rf"):
        for contents in (b"1", b"2"):
            write_atomically(name, [contents])
            assert Path(name).read_bytes() == contents
    assert len(names(path.parent)) == 4


def test_what_is_not_a_file_is_left_as_it_is(path):
    path.mkdir()
    with pytest.raises(ValueError, match=r"file is there and is not a regular file"):
        write_atomically(path, [b"a"])
    os.mkfifo(path.with_name("pipe"))
    with pytest.raises(ValueError, match=r"pipe is there and is not a regular file"):
        write_atomically(path.with_name("pipe"), [b"a"])
    with pytest.raises(FileNotFoundError, match=r"there is no such folder: '.*/missing'"):
        write_atomically(path.with_name("missing") / "file", [b"a"])
    assert names(path.parent) == ["file", "pipe"]


# ---- errors leave the previous file whole


def refused(path, error, message, pieces=(b"new",)):
    before = names(path.parent)
    with pytest.raises(error, match=message):
        write_atomically(path, pieces)
    assert path.read_bytes() == b"old"
    assert names(path.parent) == before


def test_an_error_while_writing_leaves_the_previous_file(path, monkeypatch):
    path.write_bytes(b"old")

    def interrupted():
        yield b"ne"
        raise KeyboardInterrupt

    refused(path, KeyboardInterrupt, "^$", interrupted())
    for function in ("fsync", "replace", "chmod"):
        with monkeypatch.context() as patch:
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            patch.setattr(os, function, lambda *_, full=full: (_ for _ in ()).throw(full))
            refused(
                path, OSError, "cannot save: No space left on device; nothing was changed.*file"
            )


def test_a_file_that_may_not_grow_is_an_error():
    """A limit of the operating system's, as a full disk would be."""
    printed = run_python("""
import resource, tempfile
from pathlib import Path
from samestep.checkpoint.atomic_write import write_atomically
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "file"
    write_atomically(path, [b"old"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        write_atomically(path, [bytes(60_000)] * 5)
    except OSError as error:
        print(error)
    print(path.read_bytes(), len(list(Path(folder).iterdir())))
""")
    assert "cannot save: File too large; nothing was changed" in printed
    assert "b'old' 1" in printed


def test_what_may_not_be_written_is_an_error():
    """As nobody: everything may be written by root."""
    printed = run_python("""
import os, tempfile
from pathlib import Path
from samestep.checkpoint.atomic_write import write_atomically
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "file"
    path.write_bytes(b"old")
    os.chmod(path, 0o444)
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.chown(path, 65534, 65534)
        os.setresuid(65534, 65534, 0)  # os.access asks for the real user
    def attempt():
        try:
            write_atomically(path, [b"new"])
        except OSError as error:
            print(type(error).__name__, error, path.read_bytes())
    attempt()
    os.chmod(path, 0o644)
    os.chmod(folder, 0o555)
    attempt()
    os.chmod(folder, 0o755)
    write_atomically(path, [b"new"])
    print(path.read_bytes(), len(list(Path(folder).iterdir())))
    if root:
        os.setresuid(0, 0, 0)
""")
    first, second, third = printed.splitlines()
    assert re.fullmatch(r"PermissionError .*the file is write-protected: '.*/file' b'old'", first)
    assert re.fullmatch(r"PermissionError .*Permission denied; nothing .*/file' b'old'", second)
    assert third == "b'new' 1"


@pytest.mark.parametrize(("code", "harmless"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_folder_that_cannot_be_synced(path, monkeypatch, code, harmless):
    fsync = os.fsync

    def failing(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    if harmless:
        write_atomically(path, [b"new"])
    else:
        with pytest.raises(OSError, match="saved, but the folder could not be synced"):
            write_atomically(path, [b"new"])
    assert path.read_bytes() == b"new"
