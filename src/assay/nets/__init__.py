"""The few networks that methods and studies share."""

from assay.nets.conv import small_conv
from assay.nets.mlp import mlp

__all__ = ["mlp", "small_conv"]
