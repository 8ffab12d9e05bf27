"""Embedding of certifiable watermarks by training under parameter noise (Bansal et al., 2022, algorithm 1)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from assay.core import (
    FitResult,
    InvalidInputError,
    Step,
    as_generator,
    batch_sizes,
    check_count,
    check_labels,
    check_pairs,
    check_positive,
    check_scores,
    cross_entropy,
    fit,
    named_parameters,
    unflatten,
    unwrapped,
)
from assay.privacy.watermark.smoothing import noisy_gradient
from assay.privacy.watermark.triggers import TriggerSet


@dataclass(frozen=True)
class SmoothedWatermark:
    r"""Embed a trigger set by training on it under parameter noise that rises from zero to sigma.

    After warm-up epochs of ordinary training on data and triggers, every epoch begins with one optimiser step for each
    noise level $\sigma_j = \sigma j / (J - 1)$, $j = 0 \ldots J - 1$, along

    $$\frac{1}{JK} \sum_{k=1}^{K} \nabla_\theta\, \ell(\theta + \sigma_j g_k),\qquad g_k \sim N(0, I),$$

    with the triggers' cross-entropy $\ell$. The noise rises because training under full noise from the start collapses.

    Cost: time O(J K) gradients over the triggers per epoch, memory O(batch_size p).

    Args:
        sigma: Standard deviation of the noise, in the units of the parameters. Paper: 1.0, for residual networks.
        n_levels: J. Paper's code: 21, in steps of 0.05.
        n_noise: K, draws per level. Paper's code: 100.
        warmup: Warm-up epochs, at least one. Paper's code: 5 for CIFAR, 10 for MNIST.
        batch_size: Draws evaluated at once.

    Raises:
        InvalidInputError: `sigma` is not positive, `n_levels` is below two, or another count is below one.

    Deviations from the released code: every noisy step takes all triggers; noise is never added to the weights in
    place; noisy passes run in evaluation mode, so that they leave a batch-norm's running statistics alone.

    Source: Bansal, Chiang, Curry, Jain, Wigington, Manjunatha, Dickerson, Goldstein, "Certified Neural Network
    Watermarks with Randomized Smoothing" (2022), arXiv 2207.07972, algorithm 1.

    >>> from functools import partial
    >>> from assay.nets import mlp
    >>> x, y, triggers = torch.eye(4), torch.tensor([0, 1, 2, 0]), TriggerSet(torch.rand(3, 4), label=1)
    >>> model, sgd = mlp((4, 8, 3)), partial(torch.optim.SGD, lr=0.1)
    >>> SmoothedWatermark(sigma=0.1, n_levels=3, n_noise=5).train(
    ...     model, x, y, triggers=triggers, optimizer=sgd, epochs=8
    ... ).n_iter
    8
    """

    sigma: float = 1.0
    n_levels: int = 21
    n_noise: int = 100
    warmup: int = 5
    batch_size: int = 100

    def __post_init__(self) -> None:
        check_positive(self.sigma, "sigma")
        check_count(self.n_levels, "n_levels", at_least=2)
        check_count(self.n_noise, "n_noise")
        check_count(self.warmup, "warmup")
        check_count(self.batch_size, "batch_size")

    def embed_step(
        self,
        model: nn.Module,
        triggers: TriggerSet,
        optimizer: Optimizer,
        *,
        generator: torch.Generator,
    ) -> None:
        """Take one optimiser step at each noise level; for your own training loops.

        Args:
            model: Network to train, in place; frozen parameters stay.
            triggers: The watermark's samples.
            optimizer: The optimiser of the clean training, over the model's trainable parameters.
            generator: Source of the noise: one for the whole training, made before it. A new one of the same seed in
                each epoch would repeat its draws, and verification under the same seed would meet them again.

        Raises:
            InvalidInputError: The model does not fit the triggers, returns probabilities, or is frozen.
            NumericalError: The gradient is not finite.
        """
        triggers.check_fits(model)
        check_scores(model, triggers.x)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise InvalidInputError("every parameter of the model is frozen; set requires_grad on those to be trained")
        for level in range(self.n_levels):
            gradient = noisy_gradient(
                model,
                triggers,
                sigma=self.sigma * level / (self.n_levels - 1),
                n=self.n_noise if level else 1,  # without noise, all draws are alike
                batch_size=self.batch_size,
                source=generator,
            )
            pieces = unflatten(gradient / self.n_levels, named_parameters(model))
            with torch.inference_mode(False):
                for name, parameter in unwrapped(model).named_parameters():
                    if parameter.requires_grad:
                        parameter.grad = pieces[name]
                optimizer.step()

    def train(
        self,
        model: nn.Module,
        x: Shaped[Tensor, "n *d"],
        y: Shaped[Tensor, "n *one"],
        *,
        triggers: TriggerSet,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        epochs: int,
        batch_size: int | None = None,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> FitResult:
        """Train a network in place on the data and the watermark, and leave it in evaluation mode.

        Args:
            model: Network to train.
            x: The owner's data.
            y: Their classes.
            triggers: The watermark's samples, added to the data in every epoch.
            optimizer: Called with the trainable parameters, for example `partial(torch.optim.SGD, lr=0.05)`.
            epochs: Passes over data and triggers, of which `warmup` come before the first noisy steps.
            batch_size: Samples per clean step; all by default.
            schedule: Learning-rate schedule, stepped at every clean step.
            generator: Source of the shuffling and the noise; a fixed seed by default.
            progress: Draw a bar on standard error.

        Returns:
            The result of `core.fit` for the clean steps.

        Raises:
            InvalidInputError: The arguments do not fit each other, the model returns probabilities, or no epoch
                follows the warm-up.
            NumericalError: The loss or a gradient is not finite.
        """
        x, y = check_pairs(x, y, tokens=True)
        triggers.check_fits(model)
        y = check_labels(y, check_scores(model, x).shape[1])
        if x.shape[1:] != triggers.x.shape[1:]:
            raise InvalidInputError(
                f"samples have shape {tuple(x.shape[1:])}, triggers {tuple(triggers.x.shape[1:])}; bring both to one"
            )
        if epochs <= self.warmup:
            raise InvalidInputError(f"{epochs} epochs end within the warm-up of {self.warmup}; train for longer")
        source = as_generator(generator)
        inputs, targets = torch.cat([x, triggers.x]), torch.cat([y, triggers.y])
        a_pass = len(batch_sizes(len(inputs), batch_size or len(inputs)))
        shared: list[Optimizer] = []

        def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
            shared.append(optimizer(parameters))
            return shared[0]

        def embed(step: Step) -> None:
            done, within = divmod(step.number, a_pass)
            if within == 0 and self.warmup <= done < epochs:
                self.embed_step(model, triggers, shared[0], generator=source)

        return fit(
            model,
            inputs,
            targets,
            loss=cross_entropy,
            optimizer=make,
            schedule=schedule,
            epochs=epochs,
            batch_size=batch_size,
            callbacks=[embed],
            generator=source,
            progress=progress,
        )
