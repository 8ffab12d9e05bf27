"""Built-in subjects: small networks, trained in seconds on embedded data."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.audit.subject import Subject

# Apart from their training, so that `assay list` does not import torch.
BUILT_IN = {
    "fashion": "28 x 28 images of clothes, two groups, 30 training samples, one hidden layer",
    "digits": "8 x 8 handwritten digits, odd or even, 30 training samples, one hidden layer",
}


def load_built_in(name: str, seed: int = 0, *, progress: bool = False) -> "Subject":
    """Train the built-in subject called ``name`` and return it.

    >>> load_built_in("digits").train[0].shape
    torch.Size([30, 1, 8, 8])
    """
    from assay.audit.training import TRAINERS

    return TRAINERS[name](seed, progress=progress)
