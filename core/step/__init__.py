"""One step, from gradients to launches."""
