"""The bytes that parameters, gradients and state take."""
