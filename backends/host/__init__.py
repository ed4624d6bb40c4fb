"""Arrays in host memory: what the backends that compute on NumPy arrays share."""
