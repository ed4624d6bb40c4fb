"""PyTorch's tensors as others see them: as NumPy arrays, and read in their own structs."""
