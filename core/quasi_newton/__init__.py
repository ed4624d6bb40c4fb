"""L-BFGS with a line search: parameters from a loss and its gradient, by curvature that was
seen."""
