"""Settings of the study of Hessian spectra."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What varies between networks on blobs, and how networks on digits are trained.

    Attributes:
        separation: Distance between the centres of any two blobs, in standard deviations of a blob.
        low_separation: The same for overlapping blobs, in networks of the middle width.
        target_loss: Training loss at which spectra are compared, reached within `steps`.
    """

    blob_seeds: int = 10
    samples: int = 200
    features: int = 10
    classes: tuple[int, ...] = (2, 3, 5)
    widths: tuple[int, ...] = (10, 20, 40)
    separation: float = 3.0
    low_separation: float = 1.5
    target_loss: float = 0.05
    steps: int = 50_000
    digit_seeds: int = 5
    digits: int = 1200
    large_batch_steps: int = 1500
    small_batch_steps: int = 8000
    small_batch: int = 16

    @property
    def middle_width(self) -> int:
        """The width at which the data vary."""
        return self.widths[len(self.widths) // 2]
