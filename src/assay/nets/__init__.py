"""Networks that several rooms share, their training recipes, and adapters."""

from assay.nets.adapters import LowRankAdapter, add_low_rank_adapters
from assay.nets.conv import normalized_conv, small_conv
from assay.nets.decoder import DecoderTransformer, QKLayerNorm
from assay.nets.encoders import load_encoder
from assay.nets.perceptron import mlp
from assay.nets.pretrained import load_pretrained, pretrained_names
from assay.nets.recipe import Recipe
from assay.nets.resnet import CifarResNet, Normalize
from assay.nets.two_layer import TwoLayerReLU
from assay.nets.variational import VAE, beta_vae_loss, gaussian_kl

__all__ = [
    "VAE",
    "CifarResNet",
    "DecoderTransformer",
    "LowRankAdapter",
    "Normalize",
    "QKLayerNorm",
    "Recipe",
    "TwoLayerReLU",
    "add_low_rank_adapters",
    "beta_vae_loss",
    "gaussian_kl",
    "load_encoder",
    "load_pretrained",
    "mlp",
    "normalized_conv",
    "pretrained_names",
    "small_conv",
]
