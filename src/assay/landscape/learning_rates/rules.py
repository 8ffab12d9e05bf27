"""Largest stable learning rate by batch size, and rules that scale it (Granziol, Zohren, Roberts, 2022)."""

import math
from typing import Literal

from assay.core import InvalidInputError, NumericalError, check_choice, check_positive
from assay.landscape.learning_rates.inflation import effective_batch_size
from assay.landscape.learning_rates.noise import HessianNoise, Prediction


def max_learning_rate(
    batch_size: int,
    curvature: HessianNoise,
    *,
    optimizer: Literal["sgd", "adam"] = "sgd",
    momentum: float = 0.0,
    damping: float = 0.0,
    prediction: Prediction = "fit",
    dataset_size: int | None = None,
) -> float:
    r"""Predict the largest learning rate at which steps on batches are stable.

    With the largest eigenvalue $\lambda'$ of the batch's matrix, SGD with heavy-ball momentum $\rho$ is stable on a
    quadratic below $2(1 + \rho)/\lambda'$: proportional to the batch size where noise makes most of $\lambda'$, and
    constant where it does not. Adam divides by about $H^{1/2} + \delta$, so that it sees
    $\lambda'/(\sqrt{\lambda'} + \delta)$, and the limit is $2(\sqrt{\lambda'} + \delta)/\lambda'$: it grows as the
    square root of the batch size for small damping $\delta$, and linearly again for a large one.

    The limit belongs to the weights where the curvature was measured: it moves as training goes on. For Adam its
    scale is that of the assumption on the preconditioner; rely on its ratio between batch sizes.

    Args:
        batch_size: Samples of a batch.
        curvature: What `estimate_hessian_noise` measured, at any batch size.
        optimizer: "sgd" or "adam".
        momentum: Heavy-ball momentum $\rho$ of SGD.
        damping: Damping $\delta$ of Adam, its `eps`.
        prediction: Of the curvature, see `HessianNoise.largest_at`.
        dataset_size: Samples of the set that batches are drawn from; by default that of the measurement.

    Returns:
        The learning rate.

    Raises:
        InvalidInputError: An option is out of its range or belongs to the other optimiser.
        NumericalError: The curvature is nowhere positive, so that it sets no limit.

    Source: Granziol, Zohren and Roberts (2022), abstract: linear scaling for SGD and square root scaling for Adam;
    the formulas are derived here. With momentum: Polyak (1987), "Introduction to Optimization", section 3.2.1.

    >>> import torch
    >>> ones = torch.ones(2)
    >>> measured = HessianNoise("hessian", 10, 1000, 5, 0.5, 0.0, ones, 0 * ones, 0.1, 0.01)
    >>> [round(max_learning_rate(size, measured), 2) for size in (10, 100, 1000)]
    [2.0, 3.67, 4.0]
    """
    check_choice(optimizer, ("sgd", "adam"), "optimizer")
    if not 0 <= momentum < 1:
        raise InvalidInputError(f"momentum must be at least 0 and below 1, got {momentum!r}")
    if not (math.isfinite(damping) and damping >= 0):
        raise InvalidInputError(f"damping must be zero or a positive number, got {damping!r}")
    if (optimizer == "sgd" and damping) or (optimizer == "adam" and momentum):
        raise InvalidInputError("momentum belongs to SGD and damping to Adam; leave the other one out")
    largest = curvature.largest_at(batch_size, prediction=prediction, dataset_size=dataset_size)
    if largest <= 0:
        raise NumericalError(
            f"the largest eigenvalue is {largest:.3g}: without positive curvature no learning rate is too large; "
            "measure at other weights"
        )
    if optimizer == "sgd":
        return 2 * (1 + momentum) / largest
    return 2 * (math.sqrt(largest) + damping) / largest


def scale_learning_rate(
    lr: float,
    from_batch: int,
    to_batch: int,
    rule: Literal["linear", "sqrt", "rmt"] = "linear",
    *,
    dataset_size: int | None = None,
    curvature: HessianNoise | None = None,
    optimizer: Literal["sgd", "adam"] = "sgd",
    damping: float = 0.0,
    prediction: Prediction = "fit",
) -> float:
    r"""Move a tuned learning rate to another batch size.

    With effective batch sizes b (see `effective_batch_size`), "linear" multiplies by $b_1/b_0$, for SGD where noise
    makes most of the curvature; "sqrt" by $\sqrt{b_1/b_0}$, for Adam there; "rmt" by the ratio of the largest stable
    rates $s(B_1)/s(B_0)$ of `max_learning_rate`, which goes over into a constant for large batches. With
    ``prediction="iid"``, $s(B) = (\lambda + q_0 b_0/(b\lambda))^{-1}$, and for Adam its square root.

    Args:
        lr: Learning rate at `from_batch`.
        from_batch: Batch size that it was tuned at.
        to_batch: Batch size that it is wanted at.
        rule: One of the three.
        dataset_size: Samples of the training set; by default unlimited, and for "rmt" that of the measurement.
        curvature: For "rmt": what `estimate_hessian_noise` measured.
        optimizer: For "rmt": "sgd" or "adam".
        damping: For "rmt" with Adam: its `eps`.
        prediction: For "rmt": of the curvature, see `HessianNoise.largest_at`.

    Returns:
        The learning rate at `to_batch`.

    Raises:
        InvalidInputError: An option is out of range, missing, or not one of the rule's; or a batch is the whole set,
            where "linear" and "sqrt" have no limit.
        NumericalError: The curvature is nowhere positive.

    Source: Granziol, Zohren and Roberts (2022), abstract; the formulas are derived here.

    >>> scale_learning_rate(0.1, 128, 512), scale_learning_rate(0.1, 128, 512, "sqrt")
    (0.4, 0.2)
    """
    check_positive(lr, "lr")
    check_choice(rule, ("linear", "sqrt", "rmt"), "rule")
    if rule == "rmt":
        if curvature is None:
            raise InvalidInputError("the rule 'rmt' needs curvature=, from estimate_hessian_noise at these weights")
        options = {"optimizer": optimizer, "damping": damping, "prediction": prediction, "dataset_size": dataset_size}
        there, here = (max_learning_rate(size, curvature, **options) for size in (to_batch, from_batch))
        return lr * there / here
    if curvature is not None or (optimizer, damping, prediction) != ("sgd", 0.0, "fit"):
        raise InvalidInputError(
            f"curvature, optimizer, damping and prediction belong to the rule 'rmt', and {rule!r} reads none of them; "
            "leave them out, or pass rule='rmt'"
        )
    there, here = (effective_batch_size(size, dataset_size) for size in (to_batch, from_batch))
    if math.inf in (there, here):
        raise InvalidInputError(
            f"a batch of all {dataset_size} samples has no noise, and the rule {rule!r} no limit there; use rule='rmt'"
        )
    return lr * (there / here if rule == "linear" else math.sqrt(there / here))
