"""The command that a message gives to install an extra, for every way the package may have come."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest
from helpers import ROOT
from samestep import install_command as module
from samestep.install_command import install_command


class Distribution:
    """Metadata of an installation; ``origin`` as installers write it."""

    def __init__(self, origin: dict | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.origin and json.dumps(self.origin)


LOCAL = {"url": "file:///home/me/samestep", "dir_info": {}}
WHEEL = {"url": "https://example.org/samestep-0.1.0-py3-none-any.whl", "archive_info": {}}
GIT = {
    "url": "https://example.org/samestep.git",
    "vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": "0123abc"},
}


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ([None], "samestep[numba]"),  # from an index
        ([], "samestep[numba]"),  # copied somewhere
        ([LOCAL], "samestep[numba] @ file:///home/me/samestep"),
        ([None, LOCAL], "samestep[numba] @ file:///home/me/samestep"),  # what a build left behind
        ([WHEEL], "samestep[numba] @ https://example.org/samestep-0.1.0-py3-none-any.whl"),
        ([GIT], "samestep[numba] @ git+https://example.org/samestep.git@0123abc"),
    ],
)
def test_it_installs_from_where_the_package_came(origins, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    monkeypatch.setattr(
        importlib.metadata, "distributions", lambda name: map(Distribution, origins)
    )
    assert install_command("numba") == f"pip install '{expected}'"


def test_a_checkout_that_runs_is_installed_as_it_is():
    assert install_command("cli,numba") == f"pip install -e '{ROOT}[cli,numba]'"


@pytest.mark.whole
def test_pip_takes_it():
    """Nothing is installed: pip looks at the checkout, and at no index."""
    command = install_command("cli").replace("pip install", "pip install --no-deps --dry-run")
    done = subprocess.run(
        f"{sys.executable} -m {command} --no-index --no-build-isolation",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Would install samestep" in done.stdout
