"""Networks in plain NumPy that train on every backend."""
