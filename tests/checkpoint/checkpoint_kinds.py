"""The kinds of checkpoints that are damaged: between them they have everything that a file can
hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import samestep as ss
from helpers import snapshot
from samestep import schedules

BY_NAME = {"weight": "shampoo", "embedding": {"rule": "sgd", "momentum": 0.9}}


@dataclass(frozen=True)
class Kind:
    """``params`` makes parameters from a number, ``write`` steps with them and saves, ``load``
    loads."""

    params: Callable[[float], Any]
    write: Callable[[Any, Path], None]
    load: Callable[[Path, Any], Any]


def values_of(params: Any) -> list[bytes]:
    """The values of all arrays, each of another size than the others, in an order of their own."""
    if isinstance(params, np.ndarray):
        return [params.tobytes()]
    items = params.values() if isinstance(params, dict) else params
    return sorted(value for item in items if not isinstance(item, str) for value in values_of(item))


def everything(optimizer: Any) -> str:
    """All that a checkpoint holds, to be compared."""
    rest = optimizer.state_dict()
    if isinstance(optimizer, ss.LBFGS):
        arrays = {name: value for name, value in rest.items() if isinstance(value, np.ndarray)}
        rest = {name: value for name, value in rest.items() if name not in arrays}
    else:
        del rest["state"]
        arrays = snapshot(optimizer) | {f"sum {i}": a for i, a in rest.pop("accumulated").items()}
    return repr(({k: (v.dtype.name, v.shape, v.tobytes()) for k, v in arrays.items()}, rest))


# ---- schedules, settings, several dtypes, in the middle of an accumulation


def of_settings(value: float) -> list:
    rng = np.random.default_rng(int(value))
    first = {"weight": rng.standard_normal((16, 8)).astype(np.float32), "bias": rng.random(9)}
    second = [np.full((3, 5), value, np.float16), np.full(4, value, np.complex64)]
    return [{"params": first}, {"params": second}]


def write_settings(params: list, path: Path) -> None:
    more = (dict(lr=0.5), dict(rule="adamw", betas=(0.5, 0.75)))
    optimizer = ss.Optimizer(
        "nadam",
        [group | own for group, own in zip(params, more, strict=True)],
        betas=(schedules.reduce_on_plateau(0.9), 0.99),
        clip_global_norm=schedules.exponential(2.0, 0.9),
        loss_scaler=ss.LossScaler(scale=2.0),
        accumulation_steps=2,
        weight_decay_mask=lambda name, param: param.ndim > 1,
        backend="numpy",
    )
    rng = np.random.default_rng(1)
    for number in range(3):
        grads = [group["params"] for group in of_settings(params[1]["params"][0][0, 0])]
        grads[1][0] = None if number < 2 else grads[1][0]
        grads[0]["bias"] += rng.random()
        optimizer.step(grads)
    optimizer.save(path)


def load(path: Path, params: Any) -> ss.Optimizer:
    return ss.Optimizer.load(path, params, backend="numpy")


# ---- codecs, averages, masters


def of_parts(value: float) -> list:
    rng = np.random.default_rng(int(value))
    first = {"weight": rng.random((16, 8), np.float32), "bias": rng.random(9, np.float32)}
    rest = (np.full(size, value, ml_dtypes.bfloat16) for size in ((3, 5), 4, 6))
    return [{"params": first}, *({"params": [array]} for array in rest)]


def write_parts(params: list, path: Path) -> None:
    more: list[dict[str, Any]] = [
        dict(state_dtype=dict(exp_avg="int4", exp_avg_sq="udynamic8"), average=3),
        dict(master="split", average="ema"),
        dict(compensated=True, state_dtype="int8"),
        dict(rounding="stochastic", state_dtype="bfloat16", seed=7, average="mean"),
    ]
    groups = [group | own for group, own in zip(params, more, strict=True)]
    optimizer = ss.AdamW(groups, backend="numpy")
    for _ in range(2):
        optimizer.step([group["params"] for group in of_parts(3.0)])
    optimizer.save(path)


# ---- rules by the names of parameters, one of them of square states


def of_names(value: float) -> dict:
    rng = np.random.default_rng(int(value))
    shapes = dict(embedding=(5, 3), weight=(4, 6), bias=(4,))
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


def write_names(params: dict, path: Path) -> None:
    optimizer = ss.Optimizer("adamw", params, rules=BY_NAME, backend="numpy")
    for _ in range(2):
        optimizer.step(of_names(3.0))
    optimizer.save(path)


def load_names(path: Path, params: dict) -> ss.Optimizer:
    return ss.Optimizer.load(path, params, rules=BY_NAME, backend="numpy")


# ---- L-BFGS


def of_lbfgs(value: float) -> list:
    rng = np.random.default_rng(int(value))
    return [rng.random((3, 2)), {"b": rng.random(4)}]


def write_lbfgs(params: list, path: Path) -> None:
    weights, bias = params[0], params[1]["b"]

    def closure() -> Any:
        loss = float(np.sum((weights - 2) ** 4) + np.sum((bias - 1) ** 4))
        return loss, [4 * (weights - 2) ** 3, {"b": 4 * (bias - 1) ** 3}]

    optimizer = ss.LBFGS(params, history=3, max_iter=5, backend="numpy")
    optimizer.step(closure)
    optimizer.save(path)


def load_lbfgs(path: Path, params: list) -> ss.LBFGS:
    return ss.LBFGS.load(path, params, backend="numpy")


KINDS = {
    "settings": Kind(of_settings, write_settings, load),
    "parts": Kind(of_parts, write_parts, load),
    "names": Kind(of_names, write_names, load_names),
    "lbfgs": Kind(of_lbfgs, write_lbfgs, load_lbfgs),
}
