"""Kernels on a CUDA device that all backends there share."""
