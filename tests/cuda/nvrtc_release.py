"""Compiles every printed kernel with one release of NVRTC: ``nvrtc_release.py LIBRARY [OPTION]``,
where OPTION is left out of those that users get. Prints each text that is refused, with the log.

In a process of its own: NVRTC 12.0 leaves the thread with another locale, in which Python reads
text as ASCII.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))

from nvrtc import OPTIONS, CompileError, Nvrtc
from printed import ALL, PAIRS, matrix, printer
from samestep.backends.cuda.judge import SOURCE
from sampling import EVERYTHING


def texts(known: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Names of the texts, the texts, and the architectures they are compiled for.

    Each variant is compiled in two pairs of dtypes, for one architecture, in turn; with
    ``SAMESTEP_TEST=everything`` for all architectures.
    """
    for architecture in known:
        yield "judge", SOURCE, architecture
    for place, label in enumerate(ALL):
        own = known[place % len(known)]
        some = [(own, PAIRS[0]), (own, PAIRS[1 + place % (len(PAIRS) - 1)])]
        for architecture, pair in matrix(label, known) if EVERYTHING else some:
            yield f"{label} {pair}", printer(label, pair).source(), architecture


def main(library: str, *without: str) -> int:
    """The exit status: 1 if a text is refused."""
    release = Nvrtc(Path(library))
    options = tuple(option for option in OPTIONS if option not in without)
    known = release.architectures()
    compiled = refused = 0
    for name, source, architecture in texts(known):
        try:
            release.compile(source, (*options, f"-arch=sm_{architecture}"), "CUBIN")
            compiled += 1
        except CompileError as error:
            print(f"{name} sm_{architecture}: {str(error).splitlines()[0]}")
            refused += 1
    version = ".".join(map(str, release.version()))
    print(f"NVRTC {version}, sm_{' '.join(known)}: {compiled} compiled, {refused} refused")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
