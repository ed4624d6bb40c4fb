"""Figures of several rules beside each other, on one matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from ...optimizers.optimizer import Optimizer
from .contenders import Samestep
from .peak import peak_memory
from .timing import Seconds, ratios, take_turns
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
    Entry("AdamW, bfloat16 states", "adamw", dict(state_dtype="bfloat16")),
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
        self.turns = len(self.backends)  # rounds that a repetition takes
        one = np.ones((1, 1), np.float32)
        for backend in self.backends:
            for entry in entries:
                Optimizer(entry.rule, one, backend=backend, **entry.hyper)

    def measure(self, repeats: int, advance: Callable[[str], None]) -> list[dict[str, Any]]:
        """Return all figures: a result for each backend."""
        params, grads = normal((self.shape,), seed=0), normal((self.shape,), seed=1)
        results = []
        for backend in self.backends:
            contenders = {
                entry.title: Samestep(backend, params, [grads], entry.rule, entry.hyper)
                for entry in self.entries
            }
            told = partial(advance, f"rules on {backend}")
            seconds = take_turns(contenders, 1, repeats, told)
            rules = [
                self._figures(entry, seconds, contenders[entry.title]) for entry in self.entries
            ]
            fixed = dict(backend=backend, shape=list(self.shape), dtype="float32")
            results.append({**fixed, "rules": rules})
        return results

    def _figures(self, entry: Entry, seconds: Seconds, contender: Samestep) -> dict[str, Any]:
        return {
            "title": entry.title,
            "rule": entry.rule,
            "hyper": dict(entry.hyper),
            "seconds": median(seconds[entry.title]),
            "all_seconds": seconds[entry.title],
            "times_first": ratios(seconds, entry.title, self.entries[0].title),
            "bytes_moved_per_parameter": contender.count_bytes() / math.prod(self.shape),
            "extra_memory": asdict(peak_memory(contender.step)),
        }
