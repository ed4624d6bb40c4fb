"""Printed modules on disk, so that compiled code survives the process and can be stepped
through."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import stat
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType

VARIABLE = "SAMESTEP_CACHE_DIR"
_modules: dict[str, ModuleType] = {}
_lock = threading.RLock()


def cache_directory() -> Path:
    """Return the folder of printed sources: ``SAMESTEP_CACHE_DIR``, or ``samestep`` in the user's
    cache directory. Created with mode 0700, because what is in it gets executed.

    Raises
    ------
    PermissionError
        If the directory belongs to somebody else or others may write to it.
    """
    chosen = os.environ.get(VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    path = Path(chosen) if chosen else Path(base or Path.home() / ".cache") / "samestep"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        if chosen:
            raise PermissionError(f"{VARIABLE}={chosen}: cannot write there")
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
    """Return a directory of this process, for read-only homes."""
    return tempfile.TemporaryDirectory(prefix="samestep-")


def load(name: str, source: str) -> ModuleType:
    """Import ``source`` from a file in the cache directory, named after it and its content."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    key = f"{name}_{digest}"
    with _lock:
        if key not in _modules:
            path = cache_directory() / f"{key}.py"
            if not path.exists() or path.read_text(encoding="utf-8") != source:
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
            _modules[key] = module
        return _modules[key]


def write(path: Path, content: bytes) -> None:
    """Write a file atomically: another process may be writing the same one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
