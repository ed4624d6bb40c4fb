"""Printed modules on disk, so that compiled code survives the process and can be stepped
through."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import stat
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from .notice import compiling

VARIABLE = "SAMESTEP_CACHE_DIR"
LONGEST = 60  # characters of a name
_modules: dict[str, ModuleType] = {}
_lock = threading.RLock()


def cache_directory() -> Path:
    """Return the folder of printed sources: ``SAMESTEP_CACHE_DIR``, or ``samestep`` in the user's
    cache directory. Created with mode 0700, because what is in it gets executed.

    Where there is no cache directory to write to, a temporary one serves, with a warning.

    Raises
    ------
    PermissionError
        If the directory belongs to somebody else or others may write to it, or is one that was
        asked for and cannot be written to.
    """
    chosen = os.environ.get(VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        path = Path(chosen) if chosen else Path(base or Path.home() / ".cache") / "samestep"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = "" if os.access(path, os.W_OK | os.X_OK) else f"{path} cannot be written to"
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home, as in containers
        reason = str(error)
    if reason:
        if chosen:
            raise PermissionError(f"{VARIABLE}={chosen}: cannot write there")
        warn_not_kept(reason)
        return Path(_temporary_directory().name)
    status = path.stat()
    if hasattr(os, "getuid"):
        if status.st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to another user; set {VARIABLE} to your own")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(
                f"{path} holds code that gets executed and others may write to it; "
                f"chmod 700 it or set {VARIABLE}"
            )
    return path


@functools.cache
def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    """Return a directory of this process."""
    return tempfile.TemporaryDirectory(prefix="samestep-")


def warn_not_kept(reason: str) -> None:
    """Warn that compiled kernels do not outlive the process, and why."""
    warnings.warn(
        f"kernels are compiled again by every process, since they cannot be kept ({reason}); "
        f"{VARIABLE} names a folder for them",
        RuntimeWarning,
        stacklevel=2,
    )


def load(name: str, source: str) -> ModuleType:
    """Import ``source`` from a file in the cache directory, named after it and its content."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    if (
        len(name) > LONGEST
    ):  # Numba's files are called after a module and a function, which has the name
        name = name[: LONGEST // 2]
    key = f"{name}_{digest}"
    with _lock:
        if key not in _modules:
            folder = cache_directory()
            known = any(file.suffix == ".nbi" for file in _files_of(key, folder))
            with contextlib.nullcontext() if known else compiling(folder):
                _modules[key] = _imported(folder, key, source)
        return _modules[key]


def _imported(folder: Path, key: str, source: str) -> ModuleType:
    """Import from a file in ``folder``. If that fails, what is there may be damaged, or a disk
    full: try again without it, then in a temporary directory, so that what is raised is the
    source's own."""
    try:
        return _import(folder, key, source)
    except Exception as error:
        reason = f"{folder}: {type(error).__name__}: {error}"
    try:
        for file in _files_of(key, folder):
            file.unlink(missing_ok=True)
        module = _import(folder, key, source)
    except Exception:
        module = _import(Path(_temporary_directory().name), key, source)
        warn_not_kept(reason)
    else:
        warnings.warn(f"a damaged kernel was compiled again ({reason})", RuntimeWarning, 2)
    return module


def _import(folder: Path, key: str, source: str) -> ModuleType:
    path = folder / f"{key}.py"
    if not path.exists() or path.read_bytes() != source.encode():
        write(path, source.encode())
    spec = importlib.util.spec_from_file_location(f"samestep_kernel_{key}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Numba's cache finds functions by module name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _files_of(key: str, folder: Path) -> list[Path]:
    """Return the source of a module, and what Python and Numba have compiled it to."""
    folders = [folder, *map(Path, filter(None, [os.environ.get("NUMBA_CACHE_DIR")]))]
    return [file for each in folders for file in each.rglob(f"{key}.*")]


def write(path: Path, content: bytes) -> None:
    """Write a file atomically: another process may be writing the same one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            file.write(content)
            file.flush()
        except OSError:  # a full disk: leave nothing behind
            os.unlink(file.name)
            raise
    os.replace(file.name, path)


# A forked child has only the thread that forked. Had another one been compiling, its locks would be
# held in the child for good, and the child's first step wait for ever; so a fork waits for it.


def _before_fork() -> None:
    compiler = sys.modules.get("numba.core.compiler_lock")  # of the user's functions, too
    for lock in (_lock, compiler and compiler.global_compiler_lock):
        if lock:
            lock.acquire()
            _held.append(lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()


_held: list[Any] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
