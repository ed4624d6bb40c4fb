"""Compilers, and processors by emulation, that exported C is built for and run on."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

VARIABLE = "SAMESTEP_TEST_MACHINES"
THREADS = ("-fopenmp", "-DSAMESTEP_PARALLEL_FROM=1")
# as somebody builds who wants speed: multiplications and additions may be fused
CONTRACTED = ("-std=gnu17", "-O3", "-ffp-contract=fast")


@dataclass(frozen=True)
class Machine:
    """``flags`` are what to build with unless a test has flags of its own."""

    compiler: str
    flags: tuple[str, ...] = ()
    runner: tuple[str, ...] = ()  # a command that programs are arguments of
    library: str = ""  # a folder that comes with the C library

    def missing(self) -> str:
        """What is not installed; nothing if all is there."""
        tools = [self.compiler, *self.runner[:1]]
        absent = [tool for tool in tools if shutil.which(tool) is None]
        absent += [self.library] if self.library and not Path(self.library).exists() else []
        return ", ".join(absent)

    def build(self, source: Path, *flags: str) -> Path:
        program = source.parent / "program"
        command = [self.compiler, *(flags or self.flags), source, "-o", program, "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return program

    def run(self, program: Path, file: Path, threads: int = 1) -> tuple[int, str]:
        """The status and all that it said."""
        # a thread that waits sleeps, as there may be more of them than idle cores
        environment = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        done = subprocess.run(
            [*self.runner, program, file],
            capture_output=True, text=True, check=False, env={**os.environ, **environment},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


def emulated(name: str, compiler: str, *flags: str) -> Machine:
    """A processor under QEMU, with Debian's library for it. All of them fuse unless told not to."""
    triple = f"{name.replace('ppc64le', 'powerpc64le')}-linux-gnu"
    folder = f"/usr/{triple}"
    runner = (f"qemu-{name}", "-L", folder)
    return Machine(compiler.format(triple=triple), flags, runner, f"{folder}/lib/libm.so.6")


HERE = Machine("gcc")
OTHERS = {
    "aarch64": emulated("aarch64", "{triple}-gcc", *CONTRACTED, *THREADS),
    "riscv64": emulated("riscv64", "{triple}-gcc", *CONTRACTED, *THREADS),
    "ppc64le": emulated("ppc64le", "{triple}-gcc", *CONTRACTED, *THREADS),
    # its -ffp-contract=fast would override what the text says
    "aarch64-clang": emulated("aarch64", "clang", "--target=aarch64-linux-gnu", "-O3"),
    "clang": Machine("clang", ("-O3", "-march=native")),
    "musl": Machine("musl-gcc", (*CONTRACTED, "-march=native")),
}


def named() -> list[str]:
    """The machines that ``SAMESTEP_TEST_MACHINES`` names (comma separated): they must be here."""
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def under_test() -> list[str]:
    """Those that are named; by default those that are here."""
    return named() or [name for name, machine in OTHERS.items() if not machine.missing()]


def usable(name: str) -> Machine:
    """A machine under test, which has to be here."""
    assert name in OTHERS, f"{VARIABLE}: there is no machine {name!r}, but {', '.join(OTHERS)}"
    absent = OTHERS[name].missing()
    assert not absent, f"{VARIABLE}: {name} cannot run without {absent}"
    return OTHERS[name]


def is_emulated(name: str) -> bool:
    """Whether programs run on another processor, which fuses."""
    return name in OTHERS and bool(OTHERS[name].runner)


def need(compiler: str) -> None:
    """Skips a test where a compiler is missing, unless a machine that is named brings it."""
    if shutil.which(compiler) is None:
        of_named = [OTHERS[name].compiler for name in named() if name in OTHERS]
        assert compiler.removesuffix("++") not in of_named, f"{VARIABLE}: there is no {compiler}"
        pytest.skip(f"{compiler} is not installed")
