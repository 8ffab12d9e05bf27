"""Trainers of networks of a given width: random features and two-layer networks (Liu and Flanigan, 2023)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import as_generator, check_finite, check_positive, check_samples, fit, squared_error
from assay.generalization.double_descent.features import Activation, Normalization, RandomFeatures
from assay.generalization.double_descent.modes import FeatureModes
from assay.generalization.double_descent.procedures import GradientDescent, Procedure
from assay.nets import mlp

ADAM: Any = partial(torch.optim.Adam, lr=1e-2)


@dataclass(frozen=True, eq=False)
class FeatureRegression:
    r"""A trained linear layer on random features, $f(x) = \phi(x) A + b$; called with inputs, it gives the outputs.

    Attributes:
        features: The fitted features.
        weights: A.
        intercept: b, the mean of the targets where features are centred, else zero.
        condition_number: $\kappa$ of $\Phi^\top\Phi/n$ over its non-zero eigenvalues.
        effective_condition_number: That which the procedure meets.
        effective_modes: Modes whose residual fell below 1/e of what it was.
    """

    features: RandomFeatures
    weights: Float[Tensor, "d c"]
    intercept: Float[Tensor, " c"]
    condition_number: float
    effective_condition_number: float
    effective_modes: int

    def __call__(self, x: Shaped[Tensor, "n *d"]) -> Float[Tensor, "n c"]:
        """Return the outputs, in the type of the inputs.

        Raises:
            InvalidInputError: The inputs are no finite batch.
        """
        return (_features(self.features, x) @ self.weights + self.intercept).to(x.dtype)


@dataclass(frozen=True)
class RandomFeatureModel:
    r"""Train a linear layer on `width` random features with squared loss $\frac1{2n}\lVert\Phi A - Y\rVert^2$.

    Targets are the one-hot labels, or real values; the initial weights are drawn from
    $\mathcal N(0, \text{init\_scale}^2)$. All is computed in float64.

    Cost: that of the singular value decomposition, O(n N min(n, N)), and of the procedure.

    Args:
        procedure: How the layer is trained.
        activation: Of the features; see `RandomFeatures`.
        normalization: Of the features; where they are centred, the mean of the targets is fitted as an intercept.
        init_scale: Standard deviation of the initial weights.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract: random feature
    models.

    >>> x, y = torch.eye(4), torch.tensor([0, 1, 0, 1])
    >>> RandomFeatureModel(GradientDescent(1000))(8, x, y, torch.Generator().manual_seed(0))(x).argmax(1).tolist()
    [0, 1, 0, 1]
    """

    procedure: Procedure = field(default_factory=lambda: GradientDescent(100_000))
    activation: Activation = "relu"
    normalization: Normalization = None
    init_scale: float = 0.0

    def __call__(
        self, width: int, x: Shaped[Tensor, "n *d"], y: Tensor, generator: torch.Generator | None = None
    ) -> FeatureRegression:
        """Draw the features and train the layer.

        Args:
            width: Number of features N.
            x: Inputs.
            y: Class labels (integers), or real targets of shape (n,) or (n, c).
            generator: Source of the features, the initial weights and the batches.

        Raises:
            InvalidInputError: An input is unusable.
            NumericalError: Training diverges.
        """
        source = as_generator(generator)
        seed = int(torch.randint(2**31 - 1, (1,), generator=source, device=source.device))
        options: dict[str, Any] = {"activation": self.activation, "normalization": self.normalization}
        features = RandomFeatures(width, random_state=seed, **options).fit(_matrix(x))
        phi, targets = _features(features, x), regression_targets(y).double()
        intercept = torch.zeros_like(targets[0]) if self.normalization is None else targets.mean(0)
        targets = targets - intercept
        shape = (phi.shape[1], targets.shape[1])
        init = self.init_scale * torch.randn(shape, generator=source, device=source.device, dtype=torch.float64)
        modes, init = FeatureModes.of(phi), init.to(phi.device)
        solution = self.procedure(phi, targets, modes, init, source)
        check_finite(solution.weights, f"the weights of {width} features")
        initial, final = targets - phi @ init, targets - phi @ solution.weights
        return FeatureRegression(
            features=features,
            weights=solution.weights,
            intercept=intercept,
            condition_number=modes.condition_number,
            effective_condition_number=solution.effective_condition_number,
            effective_modes=modes.fitted_modes(initial, final),
        )

    def threshold(self, n: int) -> float:
        """Return the width from which on features interpolate n samples: n, or n - 1 where they are centred."""
        return float(n if self.normalization is None else n - 1)


@dataclass(frozen=True)
class TwoLayerModel:
    """Train both layers of a ReLU network of `width` hidden units with squared loss.

    Targets are the one-hot labels, or real values.

    Cost: `n_iter` steps.

    Args:
        n_iter: Steps of the optimiser.
        optimizer: A function of parameters, such as `partial(torch.optim.SGD, lr=0.1)`.
        batch_size: Samples a step, reshuffled every epoch; all by default.
        init_scale: The initial weights are PyTorch's times this.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract: two-layer
    neural networks.

    >>> x, y = torch.eye(4), torch.tensor([0, 1, 0, 1])
    >>> TwoLayerModel(n_iter=500)(8, x, y)(x).argmax(1).tolist()
    [0, 1, 0, 1]
    """

    n_iter: int = 2000
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = ADAM
    batch_size: int | None = None
    init_scale: float = 1.0

    def __call__(
        self, width: int, x: Shaped[Tensor, "n *d"], y: Tensor, generator: torch.Generator | None = None
    ) -> nn.Sequential:
        """Build the network and train it, in the type of the inputs.

        Args:
            width: Hidden units.
            x: Inputs.
            y: Class labels (integers), or real targets of shape (n,) or (n, c).
            generator: Source of the initial weights and the batches.

        Raises:
            InvalidInputError: An input is unusable.
            NumericalError: Training diverges.
        """
        check_positive(self.init_scale, "init_scale")
        source, x = as_generator(generator), check_samples(x)
        targets = regression_targets(y).to(x)
        network = nn.Sequential(nn.Flatten(), *mlp((x[0].numel(), width, targets.shape[1]), generator=source)).to(x)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter *= self.init_scale
        options: dict[str, Any] = {"n_iter": self.n_iter, "batch_size": self.batch_size, "generator": source}
        fit(network, x, targets, loss=squared_error, optimizer=self.optimizer, **options)
        return network


def regression_targets(y: Tensor) -> Float[Tensor, "n c"]:
    """Return one-hot rows of integer labels, or real targets as a matrix."""
    if y.is_floating_point():
        return y.reshape(len(y), -1)
    return F.one_hot(y.reshape(-1).long()).double()


def _matrix(x: Tensor) -> Any:
    return check_samples(x).flatten(1).double().cpu().numpy()


def _features(features: RandomFeatures, x: Tensor) -> Float[Tensor, "n d"]:
    return torch.from_numpy(features.transform(_matrix(x))).to(x.device)
