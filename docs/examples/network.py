"""Train a small network, on the CPU or on a GPU: SAMESTEP_BACKEND says where.

Two spirals of points have to be told apart. With SAMESTEP_BACKEND=cupy arrays are CuPy's, else
NumPy's; no other line knows of it.
"""

import importlib
import itertools

import numpy as np
import samestep as ss

backend = ss.get_backend()
xp = importlib.import_module("cupy" if backend.name == "cupy" else "numpy")

rng = np.random.default_rng(0)
turn = np.sqrt(rng.uniform(0.05, 1, 400)) * 9
side = np.repeat([1.0, -1.0], 200)
points = np.stack([side * turn * np.cos(turn), side * turn * np.sin(turn)], axis=1) / 9
points += 0.02 * rng.standard_normal(points.shape)
inputs = xp.asarray(points.astype(np.float32))
labels = xp.asarray(side[:, None].astype(np.float32))

sizes = [2, 32, 32, 1]
layers = [
    {
        "weight": backend.asarray(
            (rng.standard_normal((m, n)) * np.sqrt(2 / m)).astype(np.float32)
        ),
        "bias": backend.asarray(np.zeros(n, np.float32)),
    }
    for m, n in itertools.pairwise(sizes)
]


def forward(values):
    """Return the input of each layer and, last, the output."""
    found = [values]
    for layer in layers[:-1]:
        found.append(xp.maximum(found[-1] @ layer["weight"] + layer["bias"], 0))
    return [*found, found[-1] @ layers[-1]["weight"] + layers[-1]["bias"]]


def loss_and_gradients():
    *before, output = forward(inputs)
    loss = xp.log1p(xp.exp(-labels * output)).mean()
    delta = -labels / (1 + xp.exp(labels * output)) / len(labels)
    grads = []
    for layer, value in zip(reversed(layers), reversed(before), strict=True):
        grads.append({"weight": value.T @ delta, "bias": delta.sum(axis=0)})
        delta = (delta @ layer["weight"].T) * (value > 0)
    return float(loss), grads[::-1]


opt = ss.AdamW(layers, lr=ss.schedules.cosine(0.02, T_max=600))
losses = []
for _step in range(600):
    loss, grads = loss_and_gradients()
    losses.append(loss)
    opt.step(grads)

right = float(((forward(inputs)[-1] > 0) == (labels > 0)).mean())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.4f}, {100 * right:.0f} % of the points are right")
