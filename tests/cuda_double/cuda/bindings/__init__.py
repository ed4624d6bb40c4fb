"""A double of the part of NVIDIA's bindings that the backends need, for machines without a GPU.

The device is that of the double of CuPy beside it: kernels are compiled by g++ and run on the CPU,
and work waits in its stream until somebody waits for it. ``tests/backends/cuda/bindings_drift.py``
holds names and signatures against the real ones.
"""
