"""A part is what a rule is made of or composed with; some are shared by several rules."""

from .averages import averaged
from .decay import cautious_decay, decoupled_decay, independent_decay
from .deltas import cautious, rms_clipped, signed, trust_ratio
from .gradients import adaptively_clipped, centralized
from .half import compensated, float32_master, split_master
from .lookahead import lookahead

__all__ = [
    "adaptively_clipped", "averaged", "cautious", "cautious_decay", "centralized", "compensated",
    "decoupled_decay", "float32_master", "independent_decay", "lookahead", "rms_clipped", "signed",
    "split_master", "trust_ratio",
]  # fmt: skip
