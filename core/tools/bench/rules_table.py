"""Figures of several rules beside each other, on one matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from ...optimizers.optimizer import Optimizer
from .contenders import Samestep
from .peak import peak_memory
from .timing import ratio, take_turns
from .work import normal

NAME = "rules"
SHAPE, QUICK_SHAPE = (5_000, 10_000), (500, 1_000)
USUAL_BACKENDS = ("numba",)


@dataclass(frozen=True)
class Entry:
    """A rule with the keywords of its optimizer."""

    title: str
    rule: str
    hyper: Mapping[str, Any] = field(default_factory=dict)


COMPARED = (
    Entry("AdamW", "adamw"),
    Entry("LAMB", "lamb"),
    Entry("Adafactor", "adafactor"),
    Entry("AdamW, clip_global_norm=1", "adamw", dict(clip_global_norm=1.0)),
)


class RuleTable:
    """The entries on each of some backends; the others are compared with the first entry.

    Raises ValueError, RuntimeError or TypeError for rules, keywords or backends that do not work,
    before anything is timed.
    """

    def __init__(
        self, entries: Sequence[Entry], backends: Sequence[str] | None, quick: bool
    ) -> None:
        self.entries, self.shape = entries, QUICK_SHAPE if quick else SHAPE
        self.backends = list(dict.fromkeys(backends or USUAL_BACKENDS))
        one = np.ones((1, 1), np.float32)
        for backend in self.backends:
            for entry in entries:
                Optimizer(entry.rule, one, backend=backend, **entry.hyper)

    @property
    def turns(self) -> int:
        """The number of rounds that a repetition takes."""
        return len(self.backends)

    def measure(self, repeats: int, advance: Callable[[str], None]) -> list[dict[str, Any]]:
        """Return all figures: a result for each backend."""
        return [
            self._measure_on(backend, repeats, partial(advance, f"rules on {backend}"))
            for backend in self.backends
        ]

    def _measure_on(
        self, backend: str, repeats: int, advance: Callable[[], None]
    ) -> dict[str, Any]:
        params, grads = normal((self.shape,), seed=0), normal((self.shape,), seed=1)
        contenders = {
            entry.title: Samestep(backend, params, [grads], entry.rule, entry.hyper)
            for entry in self.entries
        }
        seconds = take_turns(contenders, 1, repeats, advance)
        size = params[0].size
        return {
            "backend": backend,
            "shape": list(self.shape),
            "dtype": "float32",
            "rules": [
                {
                    "title": entry.title,
                    "rule": entry.rule,
                    "hyper": dict(entry.hyper),
                    "seconds": median(seconds[entry.title]),
                    "all_seconds": seconds[entry.title],
                    "times_first": ratio(seconds, entry.title, self.entries[0].title),
                    "bytes_moved_per_parameter": contenders[entry.title].count_bytes() / size,
                    "extra_memory": asdict(peak_memory(contenders[entry.title].step)),
                }
                for entry in self.entries
            ],
        }
