"""Hessian, Gauss-Newton and Fisher matrices of a network's mean loss, as matrix-free operators."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core.checks import check_count, check_pairs
from assay.core.derivatives import batched, one_by_one, pull_back, push_forward, refusals
from assay.core.errors import InvalidInputError
from assay.core.leaves import check_reached, leaves
from assay.core.look import check_outputs
from assay.core.losses import LossFunction
from assay.core.memory import graph_bytes
from assay.core.objective import mean_over_samples
from assay.core.operators import KEPT_BYTES, MatrixFree
from assay.core.parameters import Parameters, Selection, flatten, select_parameters, unflatten, unwrapped

Product = Callable[[list[Tensor]], list[Tensor]]


class _LossCurvature(MatrixFree):
    """Sum over batches of a curvature matrix of the mean loss, each batch weighted by its size."""

    def __init__(
        self,
        model: nn.Module,
        x: Shaped[Tensor, "n *d"],
        y: Tensor,
        loss: LossFunction,
        *,
        params: Selection | Collection[str] = "trainable",
        batch_size: int | None = None,
    ) -> None:
        self.x, self.y = check_pairs(x, y, tokens=True)
        check_outputs(model, self.x)
        self.model = model
        self.loss = mean_over_samples(loss, model, self.x, self.y)
        self.batch_size = len(x) if batch_size is None else batch_size
        check_count(self.batch_size, "batch_size")
        self.params = select_parameters(model, params)
        theta = flatten(self.params)
        # Vectors of half precision are too coarse for sums and for orthogonal directions.
        super().__init__(theta.numel(), torch.promote_types(theta.dtype, torch.float32), theta.device)
        self._held: Parameters | None = None
        self._kept: list[Product] = []

    def multiply(self, columns: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
        """Return the product with every column, one batch of samples after the other."""
        rows = columns.T.contiguous()  # with a direction's entries next to each other, kernels need no copies
        if self._held is not None:
            with refusals():
                return self._sum(rows, self._held).T
        with leaves(self.model, self.params.keys()) as params:
            return self._sum(rows, params).T

    @contextmanager
    def prepared(self, *, limit: int = KEPT_BYTES) -> Iterator[None]:
        """Keep the graphs of the first batches' gradients, as many as fit into the limit, for products to come.

        A product then costs one backward pass through each graph, without the forward pass and the gradient.
        """
        if self._held is not None:
            yield
            return
        each = graph_bytes(self.model, self.x[:1]) * min(self.batch_size, len(self.x))
        with ExitStack() as stack:
            # What the caller raises inside passes by: it is no refusal of a derivative.
            held = ExitStack()
            stack.callback(held.close)
            params = held.enter_context(leaves(self.model, self.params.keys()))
            stack.callback(self._release)
            self._held = params
            with refusals():
                for x, y in list(self._batches())[: limit // max(each, 1)]:
                    self._kept.append(self._product_on(x, y, params))
            yield

    def _release(self) -> None:
        self._held, self._kept = None, []

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x.split(self.batch_size), self.y.split(self.batch_size), strict=True)

    def _product_on(self, x: Tensor, y: Tensor, params: Parameters) -> Product:
        outputs = unwrapped(self.model)(x)
        check_reached(outputs)
        return self.batch_product(outputs, y, list(params.values()))

    def _sum(self, rows: Float[Tensor, "k p"], params: Parameters) -> Float[Tensor, "k p"]:
        parts = self._parts(rows, params)
        total = next(parts)
        for part in parts:
            total += part
        return total

    def _parts(self, rows: Float[Tensor, "k p"], params: Parameters) -> Iterator[Float[Tensor, "k p"]]:
        each = one_by_one if len(rows) == 1 else batched
        for number, (x, y) in enumerate(self._batches()):
            product = self._kept[number] if number < len(self._kept) else self._product_on(x, y, params)

            def row(vector: Tensor, product: Product = product) -> Tensor:
                pieces = product(list(unflatten(vector, params).values()))
                return torch.cat([piece.reshape(-1).to(vector.dtype) for piece in pieces])

            found = each(row, 0)(rows)
            yield found if len(x) == len(self.x) else found.mul_(len(x) / len(self.x))

    @abstractmethod
    def batch_product(self, outputs: Tensor, y: Tensor, weights: list[Tensor]) -> Product:
        """Return the product of one batch's curvature with a direction, given as one tensor a parameter."""


@final
class HessianOperator(_LossCurvature):
    r"""The Hessian $\nabla^2_\theta \frac1n\sum_i \ell(f(x_i), y_i)$ of a network's mean loss.

    Args:
        model: Network, evaluated in evaluation mode; it comes back as it was. The operator follows its weights.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples, see `mean_over_samples`.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all; or
            names of parameters and of modules, such as `{"layer3", "linear.weight"}`.
        batch_size: Samples differentiated at once; all by default.

    Raises:
        InvalidInputError: The model or the data are unusable; the message says why.

    Cost: time O(n p) for a product with one column, memory O(`batch_size` p) times the number of columns.

    >>> from assay.core.losses import squared_error
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> HessianOperator(layer, torch.tensor([[3.0]]), torch.zeros(1), squared_error).to_dense().tolist()
    [[18.0]]
    """

    def batch_product(self, outputs: Tensor, y: Tensor, weights: list[Tensor]) -> Product:
        """Return the product of one batch's Hessian with a direction, reverse over reverse."""
        slopes = pull_back([self.loss(outputs, y)], weights, create_graph=True)
        return lambda direction: pull_back(slopes, weights, direction)


@final
class GaussNewtonOperator(_LossCurvature):
    r"""The generalised Gauss-Newton matrix $\frac1n\sum_i J_i^\top \nabla^2_f \ell_i\, J_i$.

    It is positive semi-definite for a convex loss. Arguments, cost and errors are those of `HessianOperator`.

    Source: Schraudolph (2002), "Fast curvature matrix-vector products for second-order gradient descent", main text:
    the product with the extended Gauss-Newton matrix.

    >>> from assay.core.losses import squared_error
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> GaussNewtonOperator(layer, torch.tensor([[3.0]]), torch.zeros(1), squared_error).to_dense().tolist()
    [[18.0]]
    """

    def batch_product(self, outputs: Tensor, y: Tensor, weights: list[Tensor]) -> Product:
        """Return the product of one batch's Gauss-Newton matrix with a direction, from right to left."""
        return _around_outputs(self.loss, outputs, y, weights)


@final
class FisherOperator(_LossCurvature):
    r"""The Fisher information $\frac1n\sum_i \mathbb E_{y \sim p(y|f(x_i))}\, s s^\top$.

    Here $s = \nabla_\theta \ell$ is the score, and the loss is the negative logarithm of $p$: a categorical
    distribution for the cross-entropy of classes, Bernoulli's for that of one logit, a normal one for the squared
    error. Outputs are natural parameters of these, so that the Fisher information is the Gauss-Newton matrix, whatever
    the labels. Class weights weigh the samples. Arguments, cost and errors are those of `HessianOperator`; a loss of
    unknown distribution is refused at the first product.

    Raises:
        InvalidInputError: The loss is another one, whose distribution is not known.

    Source: Martens (2020), "New insights and perspectives on the natural gradient method", section 9.2.

    >>> from assay.core.losses import binary_cross_entropy
    >>> layer = nn.Linear(1, 1, bias=False).requires_grad_(True)
    >>> _ = nn.init.zeros_(layer.weight)
    >>> FisherOperator(layer, torch.tensor([[2.0]]), torch.ones(1), binary_cross_entropy).to_dense().tolist()
    [[1.0]]
    """

    def batch_product(self, outputs: Tensor, y: Tensor, weights: list[Tensor]) -> Product:
        """Return the product of one batch's Fisher information with a direction."""
        if self.loss.kind is None:
            raise InvalidInputError(
                "the Fisher information needs the distribution whose negative logarithm the loss is, known for "
                "cross-entropy and squared error only; use GaussNewtonOperator for another loss"
            )
        return _around_outputs(self.loss, outputs, y, weights)


def _around_outputs(loss: LossFunction, outputs: Tensor, y: Tensor, weights: list[Tensor]) -> Product:
    forward = push_forward(outputs, weights)
    point = outputs.detach().requires_grad_()
    slopes = pull_back([loss(point, y)], [point], create_graph=True)

    def product(direction: list[Tensor]) -> list[Tensor]:
        curved = pull_back(slopes, [point], [forward(direction)])
        return pull_back([outputs], weights, curved)

    return product
