"""Deep CCA: one encoder a view, trained by the Eckart-Young loss (Chapman, Wells and Lawry Aguila, 2024)."""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import FitResult, InvalidInputError, LossFunction, check_model, check_samples, fit, predict
from assay.representation.cca.eckart_young import EckartYoungLoss, check_views


class DeepCCA(nn.Module):
    r"""Map each view by its own encoder into a common space.

    Encoders trained with $L = -2 \operatorname{tr} A + \operatorname{tr} B^2$ (`EckartYoungLoss`, see `fit_deep_cca`)
    give codes whose leading canonical correlations are large. Where an encoder ends in a linear layer, a minimum over
    all parameters makes that layer optimal CCA of the features below it.

    Args:
        encoders: Two or more networks, each with an output (n, k) of one and the same k.

    Raises:
        InvalidInputError: Fewer than two encoders, or one that is no usable network.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), main text: deep CCA.

    >>> model = DeepCCA([nn.Linear(3, 2), nn.Linear(5, 2)])
    >>> [tuple(codes.shape) for codes in model(torch.zeros(4, 3), torch.zeros(4, 5))]
    [(4, 2), (4, 2)]
    """

    def __init__(self, encoders: Sequence[nn.Module]) -> None:
        super().__init__()
        if isinstance(encoders, nn.Module) and not isinstance(encoders, (nn.ModuleList, nn.Sequential)):
            raise InvalidInputError("encoders must be a sequence of networks, one a view; repeat one that is shared")
        if len(encoders) < 2:
            raise InvalidInputError(f"deep CCA needs an encoder for each of two or more views, got {len(encoders)}")
        for encoder in encoders:
            check_model(encoder)
        self.encoders = nn.ModuleList(encoders)

    def forward(self, *views: Shaped[Tensor, "n ..."]) -> tuple[Float[Tensor, "n k"], ...]:
        """Return the codes of each view."""
        if len(views) != len(self.encoders):
            raise InvalidInputError(f"{len(views)} views were given to {len(self.encoders)} encoders; give one each")
        codes = tuple(encoder(view) for encoder, view in zip(self.encoders, views, strict=True))
        check_views(codes, same_width=True, at_least=1)
        return codes

    def codes(self, views: Sequence[Shaped[Tensor, "n ..."]], *, batch_size: int = 256) -> tuple[Tensor, ...]:
        """Return the codes of each view in evaluation mode and without a graph.

        Raises:
            InvalidInputError: There is not one view for each encoder, or an encoder does not take its view.
        """
        if len(views) != len(self.encoders):
            raise InvalidInputError(f"{len(views)} views were given to {len(self.encoders)} encoders; give one each")
        pairs = zip(self.encoders, views, strict=True)
        return tuple(predict(encoder, view, batch_size=batch_size) for encoder, view in pairs)


def fit_deep_cca(
    model: DeepCCA,
    views: Sequence[Shaped[Tensor, "n ..."]],
    *,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    epochs: int,
    batch_size: int,
    loss: nn.Module | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> FitResult:
    """Train the encoders in place, by mini-batches of the Eckart-Young loss or another loss of the codes.

    Cost: as `core.fit`; the views are copied once into one matrix.

    Args:
        model: Encoders; left in evaluation mode.
        views: One tensor a view, of the same samples and one floating-point type.
        optimizer: Called with the trainable parameters, for example `partial(torch.optim.Adam, lr=1e-3)`.
        epochs: Passes over the data.
        batch_size: Samples a step; at least four times the number of codes, or B of a batch is far from its mean.
        loss: Called with the codes of each view; `EckartYoungLoss()` by default.
        generator: Source of the shuffling.
        progress: Draw a bar on standard error.

    Returns:
        Steps taken and the loss at each.

    Raises:
        InvalidInputError: The views do not fit each other or the encoders, or an option is out of range.
        NumericalError: The loss became NaN or infinite.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), main text: deep CCA.

    >>> from functools import partial
    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> model = DeepCCA([nn.Linear(3, 1), nn.Linear(3, 1)])
    >>> adam = partial(torch.optim.Adam, lr=0.05)
    >>> fit_deep_cca(model, (x, x), optimizer=adam, epochs=200, batch_size=64).loss < -0.99
    True
    """
    if len(views) != len(model.encoders):
        raise InvalidInputError(f"{len(views)} views were given to {len(model.encoders)} encoders; give one each")
    flat = [check_samples(view, "each view").flatten(1) for view in views]
    check_views(flat)
    joined = _Joined(model, [view.shape[1:] for view in views])
    objective: LossFunction = _CodesLoss(EckartYoungLoss() if loss is None else loss, len(views))
    x = torch.cat(flat, 1)
    return fit(
        joined,
        x,
        x.new_zeros(len(x)),  # the loss has no targets
        loss=objective,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        generator=generator,
        progress=progress,
    )


class _Joined(nn.Module):
    """Encoders as one network, of all views' columns side by side and codes side by side."""

    def __init__(self, model: DeepCCA, shapes: Sequence[torch.Size]) -> None:
        super().__init__()
        self.model, self.shapes = model, shapes

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split([shape.numel() for shape in self.shapes], 1)
        views = [part.reshape(len(x), *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return torch.cat(self.model(*views), 1)


class _CodesLoss:
    """A loss of codes as one of joined outputs and targets that are not read."""

    def __init__(self, loss: nn.Module, n_views: int) -> None:
        self.loss, self.n_views = loss, n_views

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss(*outputs.chunk(self.n_views, 1))
