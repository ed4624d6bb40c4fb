"""Replace a file as a whole: whoever opens it finds the old contents or the new, at whatever
moment the process is killed or the machine stops."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where an open file can be neither removed nor renamed
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".saving"


def write_atomically(path: str | PathLike[str], pieces: Iterable[bytes | memoryview]) -> None:
    """Write ``pieces``, one after the other, to the file at ``path``.

    They go to a temporary file in the same folder, ``.<name>.<16 hex digits>.saving``, which is
    synced to the disk and renamed; then the folder is synced. What a killed process left there is
    removed when the same file is written next. A symbolic link is followed. A file that exists
    keeps its permissions; a new one gets those that ``open`` would give.

    Raises
    ------
    OSError
        If it cannot be written; the file is then what it was, unless the message says otherwise.
    ValueError
        If ``path`` is there and is not a regular file.
    """
    target = Path(os.path.realpath(path))
    mode = _permissions(target)
    try:
        _remove_leftovers(target)
        _write_and_rename(target, mode, pieces)
    except OSError as error:
        reason = f"cannot save: {error.strerror}; nothing was changed"
        raise OSError(error.errno, reason, str(target)) from error
    _sync_folder(target.parent)


def _permissions(target: Path) -> int | None:
    """Return the permissions of the file that is there, None if there is none."""
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(target.parent))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{target} is there and is not a regular file; it is left as it is")
    if not os.access(target, os.W_OK):  # renaming would not ask
        raise PermissionError(errno.EACCES, "the file is write-protected", str(target))
    return stat.S_IMODE(mode)


def _write_and_rename(target: Path, mode: int | None, pieces: Iterable[bytes | memoryview]) -> None:
    descriptor, temporary = _create(target)
    try:
        with open(descriptor, "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(descriptor)
            if fcntl is not None:
                os.replace(temporary, target)  # still open, so still locked
        if fcntl is None:
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _create(target: Path) -> tuple[int, Path]:
    """A new file beside the target, locked as long as it is open: an unlocked one is left over."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}{SUFFIX}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            return descriptor, temporary
        with contextlib.suppress(OSError):  # some network folders know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # another process has removed it before it was locked


def _remove_leftovers(target: Path) -> None:
    """Remove temporary files of this target that no process holds locked, or open on Windows."""
    pattern = re.compile(re.escape(f".{target.name}.") + r"[0-9a-f]{16}" + re.escape(SUFFIX))
    for name in filter(pattern.fullmatch, os.listdir(target.parent)):
        # gone by now, locked by a process that is saving, or somebody else's: none of our business
        with contextlib.suppress(OSError):
            if fcntl is None:
                target.with_name(name).unlink()
                continue
            with open(target.with_name(name), "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                target.with_name(name).unlink()


def _sync_folder(folder: Path) -> None:
    """Make a renaming outlast a power failure. Windows opens no folders; there nothing is done."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system has no such thing
            reason = f"saved, but the folder could not be synced: {error.strerror}"
            raise OSError(error.errno, reason, str(folder)) from error
    finally:
        os.close(descriptor)
