"""How the built-in subjects are trained."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.audit.subject import Subject
from assay.core import binary_cross_entropy, fit, generator
from assay.data import Dataset, balanced_subset, load
from assay.nets import mlp


def train_digits(seed: int = 0, *, progress: bool = False) -> Subject:
    """Train 64-200-1 to tell odd from even on 30 of scikit-learn's digits."""
    groups = ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))
    return _train_binary(
        load("digits"), groups, ("even", "odd"), width=200, decay=3e-3, steps=2000, seed=seed, progress=progress
    )


def train_fashion(seed: int = 0, *, progress: bool = False) -> Subject:
    """Train 784-500-1 to tell two groups of clothes apart on 30 of the embedded Fashion-MNIST images."""
    groups = ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))
    names = ("a top or a bag", "trousers, a dress or a shoe")
    return _train_binary(
        load("fashion"), groups, names, width=500, decay=2e-3, steps=12000, seed=seed, progress=progress
    )


TRAINERS: dict[str, Callable[..., Subject]] = {"digits": train_digits, "fashion": train_fashion}


def _train_binary(
    dataset: Dataset,
    groups: Sequence[tuple[int, ...]],
    names: tuple[str, str],
    *,
    width: int,
    decay: float,
    steps: int,
    seed: int,
    progress: bool,
    n_per_group: int = 15,
) -> Subject:
    """Train one hidden layer on a few images of two groups of classes, to convergence and with weight decay.

    Networks that are trained like this keep their samples best (Buzaglo et al., 2023, on weight decay).
    """
    random = generator(seed)
    test = _two_groups(dataset.x_test, dataset.y_test, groups)
    train = balanced_subset(
        *_two_groups(dataset.x_train, dataset.y_train, groups), n_per_class=n_per_group, generator=random
    )
    mean = train[0].mean(0)  # the network sees images less their mean
    inputs = train[0] - mean
    widths = (inputs[0].numel(), width, 1)
    model = nn.Sequential(nn.Flatten(), *mlp(widths, bias="first", generator=random))
    initial_state = copy.deepcopy(model.state_dict())
    fit_in_span(model, inputs, train[1], decay=decay, steps=steps, progress=progress)
    return Subject(
        model=model,
        loss=binary_cross_entropy,
        train=(inputs, train[1]),
        test=(test[0] - mean, test[1]),
        mean=mean,
        class_names=names,
        initial_state=initial_state,
        name=dataset.name,
    )


def _two_groups(
    x: Float[Tensor, "n ..."], y: Int[Tensor, " n"], groups: Sequence[tuple[int, ...]]
) -> tuple[Float[Tensor, "m ..."], Int[Tensor, " m"]]:
    """Keep the samples of the classes in the two groups, labelled 0 and 1 by group."""
    kept = torch.isin(y, torch.tensor([label for group in groups for label in group]))
    return x[kept], torch.isin(y[kept], torch.tensor(groups[1])).long()


class _InSpan(nn.Module):
    """The network on coordinates in the span of the data, and what is left of the weights outside of it."""

    def __init__(self, first: nn.Linear, rest: nn.Module, basis: Float[Tensor, "r d"]) -> None:
        super().__init__()
        self.weight = nn.Parameter(first.weight.detach() @ basis.T)
        self.bias = nn.Parameter(first.bias.detach().clone())
        self.rest = rest
        self.outside = nn.Parameter(torch.ones((), dtype=basis.dtype))

    def forward(self, coordinates: Float[Tensor, "n r"]) -> Tensor:
        # Weights outside the span have no gradient and only decay; this one number follows them.
        return self.rest(coordinates @ self.weight.T + self.bias) + 0 * self.outside


def fit_in_span(
    model: nn.Sequential,
    x: Float[Tensor, "n ..."],
    y: Int[Tensor, " n"],
    *,
    decay: float,
    steps: int,
    progress: bool = False,
) -> None:
    r"""Train a dense network by full-batch gradient descent, in the coordinates of the data's span.

    With $x = B^T c$ for an orthonormal basis $B$ of the $r \le n$ dimensions that the data span, the gradient of the
    first layer $W$ lies in that span: $WB^T$ is trained on $c$, and $W(I - B^TB)$ only decays. This is exact, and
    costs $O(nrh)$ a step for $h$ hidden units instead of $O(ndh)$.
    """
    _, first, *rest = model
    if not isinstance(first, nn.Linear):
        raise TypeError("the second module must be the first dense layer")
    flat = x.flatten(1).double()
    _, scales, directions = torch.linalg.svd(flat, full_matrices=False)
    basis = directions[scales > 1e-9 * scales[0]]
    model.double()
    network = _InSpan(first, nn.Sequential(*rest), basis)
    outside = first.weight.detach() - first.weight.detach() @ basis.T @ basis
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=decay, fused=True)
    fit(
        network,
        flat @ basis.T,
        y,
        loss=binary_cross_entropy,
        optimizer=sgd,
        schedule="cosine",
        steps=steps,
        progress=progress,
    )
    with torch.no_grad():
        first.weight.copy_(network.weight @ basis + network.outside * outside)
        first.bias.copy_(network.bias)
    model.to(x.dtype).eval()
