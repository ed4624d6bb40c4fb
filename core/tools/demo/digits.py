"""Handwritten digits: 1,797 images of 8 x 8 pixels that come with scikit-learn.

Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PIXELS, CLASSES = 64, 10


class Digits(NamedTuple):
    """Images as rows of float32 pixels in [0, 1], and their labels; a fifth is for testing."""

    train_images: NDArray[Any]
    train_labels: NDArray[Any]
    test_images: NDArray[Any]
    test_labels: NDArray[Any]


def load() -> Digits:
    """Return the same split every time; every digit is equally often in both parts."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    return Digits(images[train], labels[train], images[test], labels[test])
