"""The few networks that methods and studies share."""

from assay.nets.conv import small_conv
from assay.nets.encoders import load_encoder
from assay.nets.mlp import mlp

__all__ = ["load_encoder", "mlp", "small_conv"]
