"""A part is what a rule is made of or composed with; some are shared by several rules."""

from .decay import cautious_decay, decoupled_decay, independent_decay
from .deltas import cautious, rms_clipped, signed, trust_ratio
from .gradients import adaptively_clipped, centralized
from .lookahead import lookahead

__all__ = [
    "adaptively_clipped", "cautious", "cautious_decay", "centralized", "decoupled_decay",
    "independent_decay", "lookahead", "rms_clipped", "signed", "trust_ratio",
]  # fmt: skip
