"""The driver's functions through NVIDIA's real bindings, which call a driver that only says what it
is asked for: numbers, handles and addresses arrive as they were given."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from helpers import run_python

SCRIPT = """
from samestep.backends.cuda import driver

say = lambda *words: print(*words, flush=True)
say(driver.capability(0), driver.processors(1))
driver.enter(1)
driver.enter(1)
module = driver.load(b"\\x7fELF and more")
kernel = driver.function(module, "judge")
try:
    driver.function(module, "missing")
except driver.CudaError as error:
    say(error, error.status)
arguments = driver.Arguments(2**63 + 1, 7)
driver.launch(kernel, (3, 2), 256, arguments, 0x1234)
arguments.values[1] = 8
driver.launch(kernel, (3, 1), 256, arguments, 0)
say(driver.capturing(0), driver.capturing(5))
pinned = driver.Pinned(10)
pinned.bytes[:] = 3
driver.copy_to_device(0x7000_0000_0000, pinned, 10, 0x10)
driver.copy_to_host(pinned, 0x7000_0000_0000, 10, 0x10)
say(pinned.bytes[:2])
event = driver.Event()
event.record(3)
event.precede(4)
event.synchronize()
say(event.happened)
del event
address = pinned.address
del pinned
say(driver.Pinned(60).address == address)
"""
SAID = """\
826 17
retain 1
context 0x1001
load ELF
function judge of 0x77
function missing of 0x77
CUDA says named symbol not found (CUDA_ERROR_NOT_FOUND) 500
launch 0x88 (3 2 1) (256 1 1) 0 on 0x1234: 9223372036854775809 7, (nil)
launch 0x88 (3 1 1) (256 1 1) 0 on (nil): 9223372036854775809 8, (nil)
False True
pin 64, 1
10 bytes 3 to 700000000000 on 0x10
10 bytes from 700000000000 on 0x10
[42  3]
event, 2
record 0x99 on 0x3
stream 0x4 waits for 0x99, 0
wait for 0x99
False
destroy 0x99
True
"""


def said(folder: Path, source: str) -> str:
    """What script and driver print, in a process of its own without the double."""
    target = folder / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(target)]
    subprocess.run(command, input=source, text=True, check=True)
    outside = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if "double" not in p]
    path = os.pathsep.join(outside)
    return run_python(SCRIPT, PYTHONPATH=path, LD_LIBRARY_PATH=str(folder))


def test_what_is_given_arrives(tmp_path):
    source = (Path(__file__).parent / "libcuda.c").read_text()
    assert said(tmp_path, source) == SAID


def test_control_another_argument_is_noticed(tmp_path):
    source = (Path(__file__).parent / "libcuda.c").read_text()
    changed = source.replace("*(u64 *)arguments[1]", "*(u64 *)arguments[0]")
    assert changed != source
    assert said(tmp_path, changed) != SAID
