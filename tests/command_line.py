"""Calling the commands, as installed and as in the base installation."""

from __future__ import annotations

import subprocess
import sys

from samestep.tools.cli import commands as cli

EXTRAS = ("rich", "numba", "sklearn", "matplotlib", "torch", "optax", "jax")
BASE_INSTALLATION = f"""
import sys
sys.modules.update(dict.fromkeys({EXTRAS}))  # importing one of them fails
from samestep.tools.cli.commands import main
sys.exit(main())
"""


def call(*words: object) -> int:
    """The exit code of ``samestep`` with these words."""
    try:
        return cli.main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)


def call_base(*words: object) -> subprocess.CompletedProcess[str]:
    """``samestep`` as it is with NumPy, safetensors and ml-dtypes alone."""
    command = [sys.executable, "-c", BASE_INSTALLATION, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
