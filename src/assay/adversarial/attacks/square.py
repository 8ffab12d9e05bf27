"""Square attack, a random search by scores alone (Andriushchenko, Croce, Flammarion and Hein, 2020)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.door import attackable
from assay.adversarial.attacks.square_steps import STEPS, view_as_images
from assay.adversarial.attacks.starts import sample_keys
from assay.adversarial.attacks.threat import Lp
from assay.core import InvalidInputError, check_choice, check_count

# Shares of the queries after which the area of a window is halved: at 10, 50, ... of 10,000 (released code).
_HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Square:
    r"""Change random windows of the input, and keep a change if it lowers the margin; no gradient is taken.

    At each query a window that covers a share $p$ of the image is placed at random. In the infinity norm, its entries
    move to $x \pm \varepsilon$, with a random sign for each channel; in the 2-norm, the window gets a two-sided bump,
    with the norm that a second random window gives up and that the perturbation has not used. The point is kept if the
    margin $f_y - \max_{k\ne y} f_k$ falls. Samples leave the batch as soon as they are misclassified.

    Masked gradients, which hinder every other attack here, do not hinder this one: where it breaks samples that those
    left, their result is not to be trusted.

    Args:
        threat: Threat model of the norm 2 or infinity.
        n_queries: Forward passes a sample. Paper: 10,000; in the ensemble of Croce and Hein (2020) 5,000.
        p_init: First share of the image that a window covers; it is halved nine times, at fixed shares of `n_queries`.
            Default of the ensemble: 0.8.
        random_state: Seed of the random search.

    Raises:
        InvalidInputError: `n_queries` is below one, `p_init` is not in (0, 1], or the norm is another one.

    Cost: time at most `n_queries` forward passes a sample, memory that of one batch without a graph.

    Source: Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial attack via
    random search" (2020), algorithms 1 to 3; the schedule of $p$ is that of the released code, scaled to the number of
    queries as in the paper. Deviation: inputs without height and width are taken for an image of one row, and windows
    for intervals of features; each sample has windows of its own.

    >>> attack = Square(Lp(norm=math.inf, eps=1.0, input_range=(-9.0, 9.0)), n_queries=5)
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_queries: int = 5000
    p_init: float = 0.8
    random_state: int = 0
    targeted: ClassVar[bool] = False
    uses_gradients: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count(self.n_queries, "n_queries")
        _check_share(self.p_init)
        check_choice(self.threat.norm, tuple(STEPS), "the threat's norm")

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs: the first misclassified point, else the point with the lowest margin.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range, best of shape `(n, channels, height, width)`.
            y: True labels.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        with attackable(model, x, y, threat=self.threat) as given:
            found = given.x.clone()
            search = _Search(given.model, given.x, given.y, self)
            for query in range(self.n_queries):
                broken = search.propose(query)
                found[search.index[broken]] = search.best[broken].view(-1, *x.shape[1:])
                search.keep(~broken)
                if not len(search.index):
                    break
            found[search.index] = search.best.view(-1, *x.shape[1:])
            return given.returned(found, self.threat)


def _check_share(p_init: float) -> None:
    if not 0 < p_init <= 1:
        raise InvalidInputError(
            f"p_init must be a share of the image in (0, 1], got {p_init!r}; the paper's ensemble: 0.8"
        )


def window_side(query: int, attack: Square, height: int, width: int) -> tuple[int, int]:
    """Return the height and width of the window at a query.

    >>> attack = Square(Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0)), n_queries=10_000)
    >>> window_side(0, attack, 28, 28), window_side(9_999, attack, 28, 28), window_side(20, attack, 1, 100)
    ((25, 25), (1, 1), (1, 40))
    """
    share = attack.p_init / 2 ** sum(query > limit * attack.n_queries for limit in _HALVINGS)
    if height == 1:
        return 1, min(max(round(share * width), 1), width)
    side = max(round(math.sqrt(share * height * width)), 3 if attack.threat.norm == 2 else 1)
    side += attack.threat.norm == 2 and side % 2 == 0
    return min(side, height, width), min(side, height, width)


class _Search:
    """The state of the search, with one row a sample in every tensor; images have the shape (n, c, h, w)."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, attack: Square) -> None:
        self.model, self.attack, self.shape = model, attack, x.shape[1:]
        self.index, self.y = torch.arange(len(x), device=x.device), y
        self.keys = sample_keys(x, y, attack.random_state)
        self.x = view_as_images(x)
        self.best, self.margin = self.x, x.new_full((len(x),), math.inf)

    def keep(self, mask: Bool[Tensor, " n"]) -> None:
        """Drop the samples outside the mask."""
        if not mask.all():
            vars(self).update({name: value[mask] for name, value in vars(self).items() if isinstance(value, Tensor)})

    def propose(self, query: int) -> Bool[Tensor, " n"]:
        """Try one change of each sample, keep it where the margin falls, and tell which samples are misclassified."""
        threat, step = self.attack.threat, STEPS[self.attack.threat.norm]
        if query == 0:
            proposed = step.start(self.x, self.keys, threat)
        else:
            side = window_side(query, self.attack, *self.x.shape[2:])
            proposed = step.change(self.best, self.x, self.keys, side, threat, draw=3 * query)
        margin, predicted = self._look(proposed)
        kept = (margin < self.margin) | (predicted != self.y)
        self.best = torch.where(kept.view(-1, 1, 1, 1), proposed, self.best)
        self.margin = torch.where(kept, margin, self.margin)
        return predicted != self.y

    def _look(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the margins and the predicted classes."""
        with torch.no_grad():
            scores = self.model(points.view(-1, *self.shape))
        true = self.y[:, None]
        margin = scores.gather(1, true).squeeze(1) - scores.scatter(1, true, -math.inf).amax(1)
        return margin, scores.argmax(1)
