"""The loss of the demonstration's network for digits, trained in a format."""

from __future__ import annotations

import numpy as np
from samestep.tools.demo.digits import load
from samestep.tools.demo.network import Parameters, initial_parameters, loss_and_gradients
from samestep.tools.demo.training import BATCH, SIZES
from stored_formats import Format


def final_loss(form: Format, seed: int, epochs: int) -> float:
    """Train, and return the mean cross-entropy over all training images at the end.

    The network computes in float32 with the stored weights; a gradient has the dtype of its weight.
    Of a rule that evaluates an average it is the average's.
    """
    digits = load()
    images, labels = digits.train_images, digits.train_labels
    generator = np.random.default_rng(seed)
    start = initial_parameters(SIZES, generator)
    weights = [{name: form.stored(array) for name, array in layer.items()} for layer in start]
    optimizer = form.optimizer(weights, seed)
    for _ in range(epochs):
        order = generator.permutation(len(images))
        for begin in range(0, len(order), BATCH):
            batch = order[begin : begin + BATCH]
            _, grads = loss_and_gradients(_float32(weights), images[batch], labels[batch])
            optimizer.step(
                [{name: form.stored(grad) for name, grad in layer.items()} for layer in grads]
            )
    if optimizer.rule.average_share is not None:
        optimizer.eval()
    return loss_and_gradients(_float32(weights), images, labels)[0]


def _float32(weights: Parameters) -> Parameters:
    return [{n: array.astype(np.float32) for n, array in layer.items()} for layer in weights]
