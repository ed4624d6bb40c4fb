"""Saving where the operating system has less than Linux: acted out in a process of its own."""

from __future__ import annotations

import pytest
from helpers import run_python

PROGRAM = """
import numpy as np, samestep as ss, os
params = [np.ones(3)]
opt = ss.AdamW(params, backend="numpy")
for step in range(2):
    opt.step([np.ones(3)])
    opt.save({path!r})
later = [np.empty(3)]
print(ss.AdamW.load({path!r}, later, backend="numpy").steps_taken, (later[0] == params[0]).all())
print(sorted(os.listdir({folder!r})))
"""
WITHOUT_MODULES = """
import sys
for name in ("_signal", "fcntl"):
    sys.modules[name] = None
sys.modules.pop("signal", None)
"""
# what Python's documentation says that Windows has not; an open file there can be neither renamed
# nor removed, and no folder can be opened
LIKE_WINDOWS = """
import os, sys
sys.modules["fcntl"] = None
for name in ("O_DIRECTORY", "fchmod", "fork", "getuid", "register_at_fork", "sched_getaffinity"):
    delattr(os, name)

def refused(call):
    def wrapped(path, *args, **kwargs):
        names = map("/proc/self/fd/{}".format, os.listdir("/proc/self/fd"))
        if os.path.realpath(path) in {os.path.realpath(name) for name in names}:
            raise PermissionError(13, "it is open", str(path))
        return call(path, *args, **kwargs)
    return wrapped

def opened(path, *args, call=os.open, **kwargs):
    if os.path.isdir(path):
        raise PermissionError(13, "it is a folder", str(path))
    return call(path, *args, **kwargs)

os.replace, os.unlink, os.open = refused(os.replace), refused(os.unlink), opened
"""
SYSTEMS = {"without modules": WITHOUT_MODULES, "like Windows": LIKE_WINDOWS}


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_imports_steps_and_saves(system, tmp_path):
    leftover = tmp_path / f".run.safetensors.{'0' * 16}.saving"  # of a process that was killed
    leftover.touch()
    program = PROGRAM.format(path=str(tmp_path / "run.safetensors"), folder=str(tmp_path))
    assert run_python(SYSTEMS[system] + program).splitlines() == ["2 True", "['run.safetensors']"]


def test_control_what_windows_refuses_is_refused(tmp_path):
    path = tmp_path / "file"
    program = f"""
with open({str(path)!r}, "w") as file:
    for call in (lambda: os.replace(file.name, "x"), lambda: os.unlink(file.name), lambda: os.open("/", 0)):
        try:
            call()
        except PermissionError as error:
            print(error.strerror)
"""
    assert run_python(LIKE_WINDOWS + program).splitlines() == ["it is open"] * 2 + [
        "it is a folder"
    ]
