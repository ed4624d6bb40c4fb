"""What kernels on a CUDA device have in common, whoever owns the arrays."""
