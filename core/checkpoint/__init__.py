"""Checkpoints: parameters, state and all else that the next step depends on, in one file."""

from .file import CheckpointError

__all__ = ["CheckpointError"]
