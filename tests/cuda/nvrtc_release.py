"""Compiles every printed kernel with one release of NVRTC: ``nvrtc_release.py LIBRARY [OPTION]``,
where OPTION is left out of those that users get. Prints each text that is refused, with the log.

In a process of its own: NVRTC 12.0 leaves the thread with another locale, in which Python reads
text as ASCII.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))

from nvrtc import ARCHITECTURES, OPTIONS, CompileError, Nvrtc
from printed import ALL, PAIRS, printer
from variants import EVERYTHING

if __name__ == "__main__":
    release = Nvrtc(Path(sys.argv[1]))
    options = tuple(option for option in OPTIONS if option not in sys.argv[2:])
    known = [a for a in ARCHITECTURES if a in release.architectures()]
    compiled = 0
    # every variant, the other pairs of dtypes and the architectures in turn
    for place, label in enumerate(ALL):
        for pair in PAIRS if EVERYTHING else (PAIRS[0], PAIRS[1 + place % (len(PAIRS) - 1)]):
            architecture = f"-arch=sm_{known[place % len(known)]}"
            try:
                release.compile(printer(label, pair).source(), (*options, architecture), "CUBIN")
                compiled += 1
            except CompileError as error:
                print(f"{label} {pair} {architecture}: {str(error).splitlines()[0]}")
    print(f"NVRTC {'.'.join(map(str, release.version()))}: {compiled} compiled")
