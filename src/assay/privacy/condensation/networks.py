"""Networks that a user builds, brought to the samples."""

from jaxtyping import Shaped
from torch import Tensor, nn

from assay.core import check_model


def like_samples(model: nn.Module, x: Shaped[Tensor, "n *d"]) -> nn.Module:
    """Move a network to the samples' device, and to their type unless it mixes types or reads tokens.

    Raises:
        InvalidInputError: The network's weights cannot be used.
    """
    check_model(model)
    kinds = {value.dtype for value in model.parameters() if value.is_floating_point()}
    return model.to(x if x.is_floating_point() and len(kinds) == 1 else x.device)
