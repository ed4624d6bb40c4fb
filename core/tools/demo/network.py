"""A multilayer perceptron that classifies images: forward and backward in plain NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = list[dict[str, Array]]
"""One per layer: ``weight`` (inputs, outputs) and ``bias`` (1, outputs)."""


def initial_parameters(sizes: Sequence[int], generator: np.random.Generator) -> Parameters:
    """Draw weights by He et al., arXiv:1502.01852; ``sizes`` of input, hidden and output layers."""
    return [
        {
            "weight": generator.standard_normal((inputs, outputs), np.float32)
            * np.float32(np.sqrt(2 / inputs)),
            "bias": np.zeros((1, outputs), np.float32),
        }
        for inputs, outputs in itertools.pairwise(sizes)
    ]


def forward(parameters: Parameters, images: Array) -> list[Array]:
    """Return the input of every layer and, last, the logits; one row per image."""
    values = [images]
    for layer in parameters[:-1]:
        values.append(np.maximum(values[-1] @ layer["weight"] + layer["bias"], 0))
    return [*values, values[-1] @ parameters[-1]["weight"] + parameters[-1]["bias"]]


def loss_and_gradients(
    parameters: Parameters, images: Array, labels: Array
) -> tuple[float, Parameters]:
    """Return the mean cross-entropy over the images, and its gradients."""
    *inputs, logits = forward(parameters, images)
    true_class = np.zeros_like(logits)
    true_class[np.arange(len(labels)), labels] = 1
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1, keepdims=True)
    loss = (np.log(sums) - (shifted * true_class).sum(axis=1, keepdims=True)).mean()
    delta = (exponentials / sums - true_class) / np.float32(len(labels))
    gradients: Parameters = []
    for layer, value in zip(reversed(parameters), reversed(inputs), strict=True):
        gradients.append({"weight": value.T @ delta, "bias": delta.sum(axis=0, keepdims=True)})
        if value is not images:
            delta = (delta @ layer["weight"].T) * (value > 0)
    return float(loss), gradients[::-1]


def accuracy(parameters: Parameters, images: Array, labels: Array) -> float:
    """Return the fraction of images that are classified correctly."""
    return float((forward(parameters, images)[-1].argmax(axis=1) == labels).mean())
