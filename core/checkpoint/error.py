"""The error of a checkpoint that cannot be used."""


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or does not fit. The message names the file."""
