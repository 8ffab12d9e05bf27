import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.generalization import mup_param_groups
from assay.nets import DecoderTransformer


def rates(model, base, lr=0.1):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = mup_param_groups(model, base, lr=lr)
    return {names[id(parameter)]: group["lr"] for group in groups for parameter in group["params"]}


def test_a_decoder_scales_its_linear_layers_and_nothing_else():
    wide, base = (DecoderTransformer(7, dim, 2, 2, generator=seeded(1)) for dim in (32, 8))
    found = rates(wide, base)
    assert set(found) == {name for name, _ in wide.named_parameters()}
    for name, lr in found.items():
        assert lr == pytest.approx(0.1 if "norm" in name or "embedding" in name else 0.1 * 8 / 32)


def test_layers_are_scaled_by_their_own_fan_in():
    def build(width):
        return nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, 2 * width, 3, groups=2), nn.Linear(2 * width, 5))

    found = rates(build(12), build(4))
    assert found["0.weight"] == 0.1  # from the input, which does not grow
    assert found["1.weight"] == pytest.approx(0.1 / 3)
    assert found["2.weight"] == pytest.approx(0.1 / 3)
    assert found["1.bias"] == 0.1


def test_pytorchs_transformer_is_understood_and_the_base_may_have_no_values():
    def build(dim):
        return nn.TransformerEncoderLayer(dim, 2, 4 * dim)

    with torch.device("meta"):
        base = build(4)
    found = rates(build(16), base)
    assert found["self_attn.in_proj_weight"] == found["linear2.weight"] == pytest.approx(0.1 / 4)
    assert found["self_attn.in_proj_bias"] == found["norm1.weight"] == 0.1


def tied(dim):
    model = nn.Sequential(nn.Embedding(5, dim), nn.Linear(dim, 5, bias=False))
    model[1].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (tied, "untie"),
        (lambda dim: nn.GRU(dim, dim), "grows along 2 axes"),
        (lambda dim: nn.utils.parametrizations.weight_norm(nn.Linear(dim, dim)), "parametrisation"),
        (lambda dim: nn.Sequential(*[nn.Linear(dim, dim) for _ in range(dim)]), "differ in"),
    ],
)
def test_networks_whose_fan_in_is_unknown_are_refused(build, message):
    with pytest.raises(InvalidInputError, match=message):
        mup_param_groups(build(4), build(2), lr=0.1)
