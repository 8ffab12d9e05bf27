"""Predicted classes on planes through samples (Somepalli et al., 2022, section 3)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from assay.core import InvalidInputError, check_count, check_finite, predict, single_logit, track
from assay.landscape.regions.planes import Plane


def predicted_class(outputs: Float[Tensor, "n *c"]) -> Int64[Tensor, " n"]:
    """Return the class of each row of scores: the highest, or for one logit its sign.

    Raises:
        InvalidInputError: A row holds more than one axis of scores.
        NumericalError: A score is NaN or infinite.
    """
    check_finite(outputs, "a score of the network on the plane")
    if outputs.ndim > 2:
        raise InvalidInputError(
            f"decision regions need one row of class scores a sample, got outputs of shape {tuple(outputs.shape)}; "
            "wrap the network so that it returns (n, c)"
        )
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        return (single_logit(outputs) > 0).long()
    return outputs.argmax(1)


@torch.inference_mode(False)
def plane_predictions(
    model: nn.Module,
    planes: Sequence[Plane],
    *,
    resolution: int = 50,
    margin: float = 0.1,
    batch_size: int = 2500,
    progress: bool = False,
) -> Int64[Tensor, "n r r"]:
    """Predict the class at each point of a grid on each plane.

    Args:
        model: A classifier with one row of scores a sample; evaluated in evaluation mode, it comes back as it was.
            A single logit stands for the classes 0 and 1.
        planes: Planes, in the normalisation that the network was trained with.
        resolution: Points r along each axis of a plane. Paper: 50.
        margin: Room around the triangle; see `Plane.grid`.
        batch_size: Points evaluated at once.
        progress: Draw a bar on standard error.

    Returns:
        Class indices by plane, first and second direction.

    Raises:
        InvalidInputError: There is no plane, the samples do not fit the network, or it gives no row of scores a sample.
        NumericalError: A score is NaN or infinite.

    Cost: time n r² forward passes, memory that of one plane's points and one batch.

    Source: Somepalli et al. (2022), arXiv 2203.08124, section 3.1.

    >>> plane = Plane(torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    >>> plane_predictions(nn.Linear(2, 3), [plane], resolution=4).shape
    torch.Size([1, 4, 4])
    """
    if len(planes) == 0:
        raise InvalidInputError("there is no plane; pass one or more, as from sample_planes")
    check_count(batch_size, "batch_size")
    found = []
    for index, plane in enumerate(track(planes, "planes", enabled=progress)):
        points = plane.grid(resolution, margin)[0]
        outputs = predict(model, points, batch_size=batch_size, look=index == 0)
        found.append(predicted_class(outputs).reshape(resolution, resolution))
    return torch.stack(found)
