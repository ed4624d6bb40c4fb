"""The Newton-Schulz iteration that brings a matrix near the orthogonal one, with the coefficients
and the dtype that are asked for: what Muon and its relatives share.

``ns_coefficients`` are three numbers for all steps, or ``"polar_express"``: those of Amsel,
Persson, Musco, Gower, The Polar Express, arXiv:2505.16932, Algorithm 1, others at each step. With
``ns_dtype="bfloat16"`` products are of matrices rounded to it, as in the authors' code of Muon;
PyTorch has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..language.intervals import Interval

CHOICES = dict(ns_coefficients=(None, "polar_express"), ns_dtype=(None, "bfloat16"))
BOUNDS = dict(ns_steps=Interval(0.0, 100.0, high_open=True, whole=True))
JORDAN = (3.4445, -4.7750, 2.0315)

# a, b, c of each step; further ones are as the last
_OPTIMAL = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
]
SAFETY = 1.01  # by which each step but the last divides its matrix; the first one also its norm
POLAR_EXPRESS = [
    (a / q, b / q**3, c / q**5)
    for (a, b, c), q in zip(_OPTIMAL, [SAFETY**2] + [SAFETY] * 6, strict=True)
] + [(1.875, -1.25, 0.375)]


@dataclass(frozen=True)
class Orthogonal:
    """The iteration as a part of a rule, a function of a matrix of norm 1 at most; ``ns_steps`` is
    a scalar of the rule."""

    coefficients: str | None = None
    dtype: str | None = None

    def coefficients_of(self, h):
        """Return the coefficients of all steps, as scalars."""
        triples = [h.ns_coefficients] if self.coefficients is None else POLAR_EXPRESS
        numbers = (number for triple in triples for number in triple)
        return dict(zip(self._names, numbers, strict=True))

    def __call__(self, xp, s, x):
        numbers = [getattr(s, name) for name in self._names]
        return xp.newton_schulz(x, *numbers, s.ns_steps, dtype=self.dtype)

    @property
    def _names(self):
        if self.coefficients is None:
            return ["a", "b", "c"]
        return [f"{letter}{k}" for k in range(1, len(POLAR_EXPRESS) + 1) for letter in "abc"]
