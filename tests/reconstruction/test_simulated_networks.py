"""Networks of users in the attack by simulated training, and what it says of what it found."""

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, seeded, squared_error
from assay.reconstruction import SimulatedDynamicsReconstructor, simulate_training
from helpers.reconstruction_networks import displaced, relu_network


def test_simulation_leaves_out_what_training_did_not_move():
    start = relu_network()
    trained = displaced(start)
    trained[0].load_state_dict(start[0].state_dict())
    trained[0].requires_grad_(False)
    options = {"n_samples": 2, "lr": 0.1, "epochs": 1, "n_iter": 1, "relu_alpha": None, "total_variation": 0.0}
    found = SimulatedDynamicsReconstructor(start.state_dict(), **options).fit(trained)
    # Of the first simulated step only the head counts.
    source = seeded(0)
    x = 0.5 * torch.randn(2, 4, generator=source).double()
    targets = torch.randn(2, 3, generator=source).double().softmax(1)
    slopes = torch.autograd.grad(cross_entropy_of(start(x), targets), list(start[2].parameters()))
    step = torch.cat([-part.flatten() for part in slopes])
    moved = torch.cat([(b - a).flatten() for a, b in zip(start[2].parameters(), trained[2].parameters(), strict=True)])
    assert found.history_[0] == pytest.approx(torch.cosine_similarity(step, moved, dim=0).item())


def cross_entropy_of(logits, targets):
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def test_what_is_not_explained_is_not_called_recovered():
    start = relu_network()
    options = {"n_samples": 2, "epochs": 1, "n_iter": 1}
    found = SimulatedDynamicsReconstructor(start.state_dict(), **options).fit(displaced(start))
    assert found.similarity_ < 0.7
    assert "nothing was recovered" in found.verdict_
    assert "unknowns" not in found.verdict_
    many = SimulatedDynamicsReconstructor(start.state_dict(), **options | {"n_samples": 9}).fit(displaced(start))
    assert "63 unknowns for 51 weights" in many.verdict_


def test_the_shape_of_an_input_is_not_guessed_from_a_filter():
    # A network that pools over places runs on images of the filter's size too.
    conv = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    attack = SimulatedDynamicsReconstructor(conv.state_dict(), n_samples=2, n_iter=1)
    with pytest.raises(InvalidInputError, match=r"give the shape of one input, input_shape=\(\.\.\.\)"):
        attack.fit(displaced(conv.double()))


def test_recurrent_networks_and_attention_are_simulated():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x):
            return self.out(self.cell(x)[0][:, -1])

    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.out = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), nn.Linear(4, 2)
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            return self.out(self.body(x).mean(1))

    for kind in (Recurrent, Attentive):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            start = kind().double().eval()
        x = torch.randn(2, 3, 4, generator=seeded(1)).double().requires_grad_()
        y = torch.randn(2, 2, generator=seeded(2)).double()
        call = lambda x: tuple(  # noqa: E731
            simulate_training(start, x, y, loss=squared_error, lr=0.1, epochs=2).values()  # noqa: B023
        )
        assert torch.autograd.gradcheck(call, (x,), fast_mode=True)
        options = {"n_samples": 2, "epochs": 2, "n_iter": 2, "relu_alpha": None, "input_shape": (3, 4)}
        trained = displaced(start)
        found = SimulatedDynamicsReconstructor(start.state_dict(), objective="regression", **options).fit(trained)
        assert found.reconstructions_.shape == (2, 3, 4)
