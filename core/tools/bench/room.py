"""Groups of contenders that can be in memory at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..cli.errors import UserError
from .peak import proc_bytes

MEMORY_LIMIT, MEMORY_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def available_memory() -> int | None:
    """Return the bytes that this process may still take, or None if the system does not tell.

    Linux tells, and a container may have a limit below the machine's.
    """
    try:
        free = proc_bytes("/proc/meminfo", "MemAvailable")
    except OSError:
        return None
    try:
        return min(free, int(MEMORY_LIMIT.read_text()) - int(MEMORY_USED.read_text()))
    except (OSError, ValueError):  # no such limit, or the word "max"
        return free


def groups_that_fit(
    needs: Mapping[str, int], always: Sequence[str], available: int
) -> list[list[str]]:
    """Split the names in ``needs`` (bytes by name) into as few groups as their order allows.

    Each group fits and contains those named in ``always``, so that all can be compared with these.
    Raises UserError if one does not fit beside them.
    """
    room = available - sum(needs[name] for name in always)
    groups: list[list[str]] = []
    left = -1
    for name in (name for name in needs if name not in always):
        if needs[name] > room:
            least = (available - room + needs[name]) / 1e9
            raise UserError(
                f"{name} beside {' and '.join(always)} needs {least:,.1f} GB of memory; "
                f"{available / 1e9:,.1f} GB are available. Choose other work with --work"
            )
        if needs[name] > left:
            groups.append([])
            left = room
        groups[-1].append(name)
        left -= needs[name]
    return [[name for name in needs if name in {*group, *always}] for group in groups or [[]]]
