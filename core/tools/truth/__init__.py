"""Errors of a step against arithmetic in 50 digits."""
