"""The table of networks that users have, each beside a plain one that computes the same from the same weights.

To add one, add a row. A twin is the independent answer: the network without its wrapper, hook or tie, or `by_hand`, a
formula in plain operations on the network's own weights, in the same order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.core import seeded
from helpers import hand_formulas as hand
from helpers import user_modules as user
from helpers import user_networks as nets
from helpers.user_networks import Build, between, by_hand, of, plain, prepares, returns


def features(n: int) -> Tensor:
    """Samples of four features."""
    return torch.rand(n, 4, generator=seeded(0), dtype=torch.float64)


def images(n: int) -> Tensor:
    """Images of 2 x 2 pixels."""
    return features(n).reshape(n, 1, 2, 2)


def sequences(n: int) -> Tensor:
    """Sequences of two steps of two features."""
    return features(n).reshape(n, 2, 2)


def words(n: int) -> Tensor:
    """Sentences of four of five words."""
    return torch.randint(0, 5, (n, 4), generator=seeded(0))


@dataclass(frozen=True, eq=False)
class Network:
    """A network as users have them, and what is expected of every entry.

    Attributes:
        name: Told in the tests.
        build: Builds it.
        twin: Builds a plain network with the same weights and answers; None where there is none.
        inputs: Makes a number of inputs.
        outputs: Number of outputs.
        classes: Number of classes among the labels; a network of two may have one logit.
        logit: Whether it has one logit.
        language: Whether it scores the word that follows each.
        refused: Whether every entry refuses it: "always", "but to audit" where a subject takes the scores out of what
            it returns, "but to train" where its outputs are no function of the
            sample alone, or "perhaps" where a right answer is as good.
        probabilities: Whether its outputs are probabilities, which attacks on scores refuse.
        random: Whether it draws random numbers in evaluation mode.
        frozen: Whether it has nothing to train.
        fatal: Whether an audit refuses it.
        dtype: Type of its inputs; its twin has its own.
        tolerance: Largest error beside the twin's answer, relative to the largest entry.
        rough: Whether rounding decides what searches and draws answer, so that oracles alone are compared.
        modes_differ: Whether it answers otherwise in training mode, so that what trains has no twin.
        whole: Builds a twin that counts all weights where some are frozen, and `twin` those that are not.
    """

    name: str
    build: Build
    twin: Build | None = None
    inputs: Callable[[int], Tensor] = features
    classes: int = 3
    logit: bool = False
    language: bool = False
    refused: Literal["", "always", "but to audit", "but to train", "perhaps"] = ""
    probabilities: bool = False
    outputs: int = 3
    random: bool = False
    frozen: bool = False
    fatal: bool = False
    dtype: torch.dtype = torch.float64
    tolerance: float = 1e-6
    rough: bool = False
    modes_differ: bool = False
    whole: Build | None = None

    def samples(self, n: int = 6) -> tuple[Tensor, Tensor]:
        """Return samples of the network's types, and labels."""
        x = self.inputs(n)
        return (x.to(self.dtype) if x.is_floating_point() else x), torch.arange(n) % self.classes


def _whole(build: Build, formula: hand.Formula) -> Build:
    return lambda: hand.ByHand(build().requires_grad_(True), formula)


def _normalised_in_place(x: Tensor) -> Tensor:
    return x.sub_(0.5).div_(0.8)


ONE_LOGIT = {"classes": 2, "logit": True, "outputs": 1}
OF_WORDS = {"inputs": words, "classes": 5, "outputs": 5}

NETWORKS = (
    Network("plain", plain, by_hand(plain, hand.perceptron)),
    Network("float32", lambda: plain().float(), plain, dtype=torch.float32, tolerance=1e-3),
    Network(
        "bfloat16", lambda: plain().to(torch.bfloat16), nets.rounded, dtype=torch.bfloat16, tolerance=0.1, rough=True
    ),
    Network("dropout", between(nn.ReLU, nn.Dropout), plain, modes_differ=True),
    Network("dropout in training mode", nets.training_dropout, plain, modes_differ=True, fatal=True),
    Network(
        "convolution",
        nets.convolution,
        by_hand(nets.convolution, hand.convolution),
        inputs=images,
        modes_differ=True,
    ),
    Network("batch-norm", nets.normalised_dense, by_hand(nets.normalised_dense, hand.normalised), modes_differ=True),
    Network("tied weights", of(user.Tied), by_hand(of(user.Tied), hand.tied)),
    Network("in-place ReLU", between(lambda: nn.ReLU(inplace=True)), plain),
    Network("writes into its input", prepares(_normalised_in_place), prepares(lambda x: (x - 0.5) / 0.8)),
    Network("reused module", of(user.Reuses), by_hand(of(user.Reuses), hand.reuses)),
    Network("dictionary", returns(lambda scores: {"logits": scores}), plain, refused="but to audit"),
    Network("tuple", returns(lambda scores: (scores, scores.sum())), plain, refused="but to audit"),
    Network(
        "ModelOutput", returns(lambda scores: user.ModelOutput(loss=None, logits=scores)), plain, refused="but to audit"
    ),
    Network("one logit", lambda: plain(1), by_hand(lambda: plain(1), hand.perceptron), **ONE_LOGIT),
    Network("one flat logit", returns(lambda s: s.squeeze(1), 1), **ONE_LOGIT),
    Network("squeezed", returns(lambda s: s.squeeze(), 1), returns(lambda s: s.squeeze(1), 1), **ONE_LOGIT),
    Network("two logits", lambda: plain(2), by_hand(lambda: plain(2), hand.perceptron), classes=2, outputs=2),
    Network("1000 classes", nets.thousand, by_hand(nets.thousand, hand.perceptron), outputs=1000),
    Network("LSTM", of(user.Recurrent, nn.LSTM), by_hand(of(user.Recurrent, nn.LSTM), hand.lstm), inputs=sequences),
    Network("GRU", of(user.Recurrent, nn.GRU), by_hand(of(user.Recurrent, nn.GRU), hand.gru), inputs=sequences),
    Network(
        "TransformerEncoder",
        of(user.Encoder),
        by_hand(of(user.Encoder), hand.encoder),
        inputs=sequences,
        modes_differ=True,
    ),
    Network("steps first", of(user.Encoder, batch_first=False), inputs=sequences, refused="but to train"),
    Network("GPT", of(user.LastWord), by_hand(of(user.LastWord), hand.last_word), **OF_WORDS),
    Network("embedding of tokens", nets.embedded, by_hand(nets.embedded, hand.embedded), **OF_WORDS),
    Network("GPT of each word", of(user.Decoder), by_hand(of(user.Decoder), hand.decoder), language=True, **OF_WORDS),
    Network("LSTM of each word", of(user.RecurrentWords), language=True, **OF_WORDS),
    Network("ModelOutput of each word", of(user.OutputsOfWords), of(user.Decoder), language=True, **OF_WORDS),
    Network("DataParallel", lambda: nn.DataParallel(plain()), plain),
    Network("torch.compile", lambda: torch.compile(plain(), backend="eager"), plain),
    Network(
        "adapter on bfloat16",
        nets.adapted,
        by_hand(nets.adapted, hand.adapted),
        dtype=torch.float32,
        tolerance=0.03,  # four roundings of bfloat16: a row alone is summed in another order than in its batch
        whole=_whole(nets.adapted, hand.adapted),
    ),
    Network("frozen backbone", nets.frozen_backbone, by_hand(nets.frozen_backbone, hand.perceptron), whole=plain),
    Network("all frozen", lambda: plain().requires_grad_(False), plain, frozen=True),
    Network("integer parameter", nets.with_integer_parameter, nets.with_count),
    Network("weight_norm by hooks", nets.old_weight_norm, by_hand(nets.old_weight_norm, hand.old_weight_norm)),
    Network("weight_norm", nets.new_weight_norm, by_hand(nets.new_weight_norm, hand.new_weight_norm)),
    Network("spectral_norm", nets.spectral_norm, by_hand(nets.spectral_norm, hand.spectral_norm), modes_differ=True),
    Network("full backward hook", nets.hooked, plain),
    Network("unused head", nets.auxiliary, by_hand(nets.auxiliary, hand.auxiliary)),
    Network("noise", prepares(lambda x: x + 0.1 * torch.randn_like(x)), refused="but to train", random=True),
    Network("functional dropout", prepares(lambda x: F.dropout(x, 0.5)), refused="but to train", random=True),
    Network("batch statistics", nets.batch_statistics, refused="but to train"),
    Network(
        "softmax", lambda: nn.Sequential(*plain(), nn.Softmax(1)), by_hand(plain, hand.softmax), probabilities=True
    ),
    Network("guard on values", prepares(nets.guard), plain),
    Network(
        "scalar parameter", lambda: user.Scaled(plain()).eval(), by_hand(lambda: user.Scaled(plain()), hand.scaled)
    ),
    Network(
        "autograd.Function",
        between(lambda: user.Applies(user.Squaring.apply)),
        by_hand(plain, hand.squaring),
    ),
    Network("meta device", lambda: plain().to("meta"), refused="always"),
    Network("lazy layer", nets.lazy, refused="always"),
    Network("inference mode", nets.in_inference_mode, plain, refused="perhaps"),
)
