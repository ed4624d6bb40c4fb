"""L-BFGS beside scipy's and PyTorch's: prints the table of docs/howto/lbfgs.md.

python tests/quasi_newton/compare.py
"""

from __future__ import annotations

import numpy as np
import samestep as ss
import torch
from problems import PROBLEMS, Problem
from scipy import optimize

SMALL = 1e-6  # the largest derivative at which each stops


def ours(problem: Problem) -> tuple[int, float]:
    """Return the evaluations and the loss at the end."""
    found = ss.minimize(
        problem.function, problem.start, jac=True, method="lbfgs", gtol=SMALL, tolerance_change=0
    )
    return found.nfev, found.fun


def scipys(problem: Problem) -> tuple[int, float]:
    options = {"gtol": SMALL, "ftol": 0, "maxcor": 10}
    found = optimize.minimize(
        problem.function, problem.start, jac=True, method="L-BFGS-B", options=options
    )
    return found.nfev, found.fun


def torchs(problem: Problem) -> tuple[int, float]:
    x = torch.tensor(problem.start, requires_grad=True)
    opt = torch.optim.LBFGS(
        [x], max_iter=1000, max_eval=10_000, history_size=10, line_search_fn="strong_wolfe",
        tolerance_grad=SMALL, tolerance_change=0,
    )  # fmt: skip
    count = 0

    def closure():
        nonlocal count
        count += 1
        value, grad = problem.function(x.detach().numpy())
        x.grad = torch.from_numpy(grad)
        return torch.tensor(value, dtype=torch.float64)

    opt.step(closure)
    return count, problem.function(x.detach().numpy())[0]


def table() -> str:
    """Return the table in Markdown."""
    lines = ["| problem | samestep | scipy | torch | loss | scipy's | torch's |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for name, problem in PROBLEMS.items():
        counts, losses = zip(*(of(problem) for of in (ours, scipys, torchs)), strict=True)
        cells = [
            name,
            *map(str, counts),
            *(f"{loss:.7g}" if loss > 1e-9 else f"{loss:.0e}" for loss in losses),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    np.seterr(over="ignore")
    print(table())
