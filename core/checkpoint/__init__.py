"""Checkpoints: parameters, state and all else that the next step depends on, in one file."""

from .error import CheckpointError

__all__ = ["CheckpointError"]
