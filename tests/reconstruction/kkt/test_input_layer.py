import pytest
import torch
from torch import nn

from assay.core import InvalidInputError
from assay.nets import mlp, small_conv
from assay.reconstruction.kkt import first_layer, first_layer_inputs
from assay.reconstruction.kkt.input_layer import dense_chain, from_first_layer


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(outputs=1):
    return mlp((12, 9, 5, outputs), generator=generator())


class Normalize(nn.Module):
    """A mean image taken out and channels scaled, both as buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.rand(1, 3, 4, generator=generator(3)))
        self.register_buffer("std", torch.full((1, 1, 1), 0.3))

    def forward(self, x):
        return (x - self.mean) / self.std


class Custom(nn.Module):
    """The same with functions in a forward of its own."""

    def __init__(self, after=torch.relu):
        super().__init__()
        self.normalize, self.after = Normalize(), after
        self.first, self.second, self.third = network()[0], network()[2], network()[4]

    def forward(self, x):
        hidden = torch.relu(self.first(self.normalize(x.view(-1, 1, 3, 4)).flatten(1)))
        return self.third(self.after(self.second(hidden))).squeeze(1)


class Beside(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)) + x)


class Disordered(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.first = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.head(self.first(x))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(Normalize(), nn.Flatten(), network()), (1, 3, 4)),
        (Custom(), (1, 3, 4)),
        (Custom(), None),
    ],
)
def test_what_comes_before_the_first_layer_is_left_out(model, shape):
    chain, read = from_first_layer(model.requires_grad_(False), shape)
    assert isinstance(chain, nn.Sequential)
    assert read == (12,)
    x = torch.rand(6, 1, 3, 4, generator=generator(1))
    inputs = first_layer_inputs(model, x)
    torch.testing.assert_close(inputs, Normalize()(x).flatten(1))
    torch.testing.assert_close(chain(inputs).flatten(), model(x).flatten())


def test_networks_that_are_no_chain_are_run_from_their_first_layer():
    model = Custom(after=torch.tanh).requires_grad_(False)
    inside, read = from_first_layer(model, (1, 3, 4))
    assert not isinstance(inside, nn.Sequential)
    assert read == (12,)
    x = torch.rand(6, 1, 3, 4, generator=generator(1))
    torch.testing.assert_close(inside(first_layer_inputs(model, x)), model(x))


def test_a_convolution_reads_images():
    model = nn.Sequential(Normalize(), nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 1))
    inside, read = from_first_layer(model.requires_grad_(False), (1, 3, 4))
    assert read == (1, 3, 4)
    x = torch.rand(5, 1, 3, 4, generator=generator(1))
    torch.testing.assert_close(inside(Normalize()(x)), model(x))


def test_only_chains_of_dense_layers_are_taken():
    assert dense_chain(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Linear(3, 1))) is None
    assert dense_chain(nn.Linear(2, 1)) is None
    assert dense_chain(nn.Sequential(nn.Linear(2, 3), nn.Flatten(0), nn.Linear(6, 1))) is None
    nested = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Dropout(), nn.Linear(3, 1))
    assert len(dense_chain(nested)) == 3


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (small_conv((1, 8, 8), 1), None, r"input_shape=\(channels"),
        (nn.Sequential(Normalize(), nn.Flatten(), network()), None, "does not run on inputs"),
        (network(), (5,), "does not run on inputs"),
        (Beside(), None, "outside its first layer"),
        (Disordered(), None, "holds 'head' first but runs another"),
        (nn.Flatten(), None, "no layer with parameters"),
    ],
)
def test_bad_input(model, shape, message):
    with pytest.raises(InvalidInputError, match=message):
        from_first_layer(model.requires_grad_(False), shape)


def test_a_layer_whose_weight_is_computed_is_the_first_layer():
    model = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.Linear(3, 2))
    name, layer = first_layer(model)
    assert (name, layer) == ("1", model[1])
    with pytest.raises(InvalidInputError, match="no layer with parameters"):
        first_layer(nn.ReLU())
