"""The command that installs this package again, with an extra, from where it came.

The package knows where that was: from a checkout that it still runs in, or from what the installer
wrote down (PEP 610); where neither says anything it came from an index.
"""

from __future__ import annotations

import json
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent  # of an editable installation; else what it is installed in


def install_command(extra: str) -> str:
    """Return the command that installs ``extra``; several are separated by commas."""
    if (CHECKOUT / "pyproject.toml").is_file():
        return f"pip install -e '{CHECKOUT}[{extra}]'"
    origin = _origin()
    return f"pip install 'samestep[{extra}]{origin and f' @ {origin}'}'"


def _origin() -> str:
    """Return the URL that this package was installed from; nothing for an index."""
    from importlib import metadata  # slow to import

    for found in metadata.distributions(name="samestep"):  # a build leaves some in its folder, too
        if written := found.read_text("direct_url.json"):
            origin = json.loads(written)
            url: str = origin["url"]
            if vcs := origin.get("vcs_info"):
                return f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
            return url
    return ""
