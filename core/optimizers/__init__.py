"""The optimizer classes, and the functional form of the same rules."""
