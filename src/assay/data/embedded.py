"""Embedded data sets: scikit-learn's small ones and a part of Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split

from assay.data.dataset import Dataset
from assay.data.idx import read_idx
from assay.data.tensors import images, labels

FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

_LOADERS = {
    "breast-cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}


def load_tabular(name: str) -> Dataset:
    """Load one of scikit-learn's embedded sets, with a fixed quarter as the test part.

    Digits become images of shape `(1, 8, 8)` divided by 16. Features of the others are scaled to `[0, 1]` by the
    range of the training part; test values outside it are clipped.
    """
    bunch: Any = _LOADERS[name]()
    parts: Any = train_test_split(bunch.data, bunch.target, test_size=0.25, stratify=bunch.target, random_state=0)
    x_train, x_test, y_train, y_test = parts
    if name == "digits":
        x_train, x_test = (x.reshape(-1, 1, 8, 8) / 16 for x in (x_train, x_test))
    else:
        low, high = x_train.min(axis=0), x_train.max(axis=0)
        x_train, x_test = (np.clip((x - low) / (high - low), 0, 1) for x in (x_train, x_test))
    return Dataset(
        name=name,
        x_train=torch.from_numpy(x_train).float(),
        y_train=labels(y_train),
        x_test=torch.from_numpy(x_test).float(),
        y_test=labels(y_test),
        class_names=tuple(str(label) for label in bunch.target_names),
    )


def load_fashion() -> Dataset:
    """Load the embedded part of Fashion-MNIST: 200 training and 50 test images of each class, 28 x 28 pixels.

    The images are in the order of the SHA-256 of their pixels: a fixed pseudo-random order.

    Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms" (2017), arXiv:1708.07747, section 2; MIT licence, (c) 2017 Zalando SE.
    """
    folder = Path(__file__).parent / "embedded"
    return Dataset(
        name="fashion",
        x_train=images(read_idx(folder / "fashion-train-images.idx.xz")),
        y_train=labels(read_idx(folder / "fashion-train-labels.idx.xz")),
        x_test=images(read_idx(folder / "fashion-test-images.idx.xz")),
        y_test=labels(read_idx(folder / "fashion-test-labels.idx.xz")),
        class_names=FASHION_CLASSES,
    )
