"""Subclasses of ``torch.optim.Optimizer`` that step by a rule."""
