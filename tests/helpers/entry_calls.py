"""Calls of the methods' rows that name shapes or networks of their own, with those of the network in hand instead."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from assay.adversarial import off_subspace_radius
from assay.adversarial.attacks import almost_linearity
from assay.adversarial.subspace import orthogonal_complement
from assay.core import (
    HessianOperator,
    LossFunction,
    StackedTrainer,
    input_gradient,
    mean_over_samples,
    named_parameters,
    parameter_distance,
    predict,
    preserved,
    project_parameters,
    seeded,
    squared_error,
    vector_jacobian_product,
)
from assay.landscape import hessian_spectrum, lanczos, linear_path
from assay.landscape.opposing import find_opposing_groups, per_sample_loss_change, track_opposing
from assay.privacy import CanaryAttack, DirectAttack, ShadowEnsemble
from assay.privacy.condensation import kernel_velocity
from assay.privacy.membership import canary_objective
from assay.privacy.unlearning import (
    QAExamples,
    build_assistant,
    calibrate_alpha,
    reversed_objective,
    token_logits,
    unlearn,
)
from assay.reconstruction import invert_embedding, simulate_training
from assay.reconstruction.kkt import first_layer_inputs, set_sharpness, with_surrogate_relu


@dataclass(frozen=True, eq=False)
class Given:
    """What an entry is given: a network with samples, labels and a loss, and a way to build the network again."""

    model: nn.Module
    x: Tensor
    y: Tensor
    loss: LossFunction
    build: Callable[[], nn.Module]
    outputs: int

    @torch.inference_mode(False)
    def other(self, seed: int = 7) -> nn.Module:
        """Build the network with trained weights of its own, or all of them where it trains none."""
        model, draw = self.build(), seeded(seed)
        frozen = not any(value.requires_grad for value in model.parameters())
        with torch.inference_mode():  # where weights that were made there can be written to
            for value in model.parameters():
                if value.is_floating_point() and not nn.parameter.is_lazy(value) and (frozen or value.requires_grad):
                    value.mul_(0.9).add_(0.1 * torch.randn(value.shape, generator=draw, dtype=torch.float64).to(value))
        return model


def _linear_path(given: Given) -> object:
    report = linear_path(given.model, given.other(), given.x, given.y, loss=given.loss, n=3)
    return report.losses, report.distance


def _loss_change(given: Given) -> object:
    return per_sample_loss_change(given.model, given.other(), given.x, given.y, loss=given.loss)


def _moved(given: Given, direction: Literal["gradient", "eigenvector"]) -> object:
    """Leave out the clusters, which depend on the features of the last layer that a twin need not have."""
    found = find_opposing_groups(given.model, given.x, given.y, loss=given.loss, direction=direction, lr=0.1)
    return found.loss_change, found.sharpness


def _track(given: Given) -> object:
    options = {"loss": given.loss, "optimizer": partial(torch.optim.SGD, lr=0.01), "n_iter": 2}
    return track_opposing(given.model, given.x, given.y, **options).losses


def _shadows(given: Given) -> ShadowEnsemble:
    seen = torch.arange(len(given.x)) % 2 == torch.tensor([[0], [1], [0], [1]])
    return ShadowEnsemble((given.model, *(given.other() for _ in range(3))), seen, given.x)


def _direct(given: Given) -> object:
    shadows = _shadows(given)
    return DirectAttack(shadows).score([given.other(8)], given.x, given.y), shadows.confidences(given.x, given.y)


def _canary(given: Given) -> object:
    attack = CanaryAttack(_shadows(given), n_queries=2, eps=0.1, n_iter=3)
    queries = attack.craft(given.x, given.y, generator=seeded(5))
    return queries, attack.score([given.other(8)], given.x, given.y, queries=queries)


def _trained_shadows(given: Given) -> object:
    trainer = StackedTrainer(given.loss, partial(torch.optim.SGD, lr=0.1), epochs=2, batch_size=2)
    shadows = ShadowEnsemble.fit(given.x, given.y, model_fn=lambda _: given.other(), trainer=trainer, n_models=4)
    return shadows.confidences(given.x, given.y)


def _embedding(given: Given) -> object:
    shape = given.x.shape[1:] if given.x.ndim == 4 else (1, 2, 2)
    encoder = (
        given.model
        if given.x.ndim == 4
        else nn.Sequential(nn.Flatten(), nn.Unflatten(1, given.x.shape[1:]), given.model)
    )
    target = torch.linspace(1, -1, given.outputs).to(given.x)
    return invert_embedding(encoder, target, image_shape=shape, n_iter=5, generator=seeded(5))


def _off_radius(given: Given) -> object:
    basis = orthogonal_complement(torch.eye(4, dtype=given.x.dtype)[:2], rank=2)
    return off_subspace_radius(given.model, given.x, given.y, basis=basis, max_norm=5.0)


def _cotangent(given: Given) -> object:
    size = len(given.x) * given.outputs
    like = {} if not given.x.is_floating_point() else {"dtype": given.x.dtype}
    cotangent = torch.linspace(0, 1, size, **({"dtype": torch.float64} | like))
    shape = predict(given.model, given.x).shape
    return vector_jacobian_product(given.model, given.x, cotangent.reshape(shape))


def _projected(given: Given) -> object:
    centre = given.other()
    project_parameters(given.model, centre, 0.1)
    return parameter_distance(given.model, centre), named_parameters(given.model)


def _documents(given: Given) -> QAExamples:
    return QAExamples.from_tokens(given.x, prompt_length=2)


def _unlearned(given: Given) -> object:
    options = {"objective": reversed_objective(), "optimizer": partial(torch.optim.SGD, lr=0.1), "epochs": 2}
    unlearn(given.model, _documents(given), _documents(given), **options)
    return named_parameters(given.model)


def _unlearning_loss(given: Given) -> object:
    with preserved(given.model):
        return reversed_objective()(given.model, _documents(given), _documents(given))


def _calibrated(given: Given) -> object:
    """Let an assistant know the answers as well as the network does."""
    with preserved(given.model), torch.no_grad():
        scores = token_logits(given.model, QAExamples.from_tokens(given.x, prompt_length=1))
    known = QAExamples.from_tokens(torch.cat([given.x[:, :1], scores[:, :1].argmax(2)], dim=1), prompt_length=1)
    return calibrate_alpha(given.model, given.build(), known, forget_accuracy=0.0)


def _simulated(given: Given) -> object:
    targets = torch.linspace(0, 1, len(given.x) * given.outputs).reshape(len(given.x), -1)
    after = simulate_training(given.model, given.x, targets, loss=squared_error, lr=0.1, epochs=2, momentum=0.5)
    return {name: value.detach() for name, value in after.items()}


def _token_scores(given: Given) -> object:
    with preserved(given.model), torch.no_grad():
        return token_logits(given.model, _documents(given))


def _weighted_input_gradient(given: Given) -> object:
    weights = torch.linspace(1, 2, given.outputs)
    return input_gradient(given.model, given.x, lambda outputs: outputs.reshape(len(given.x), -1) @ weights.to(outputs))


def _weighted_mean(given: Given) -> object:
    loss = given.loss
    if given.outputs > 1:
        loss = nn.CrossEntropyLoss(weight=torch.linspace(1, 2, given.outputs).to(predict(given.model, given.x)))
    mean = mean_over_samples(loss, given.model, given.x, given.y)
    outputs = predict(given.model, given.x)
    return mean(outputs, given.y), mean(outputs[:1], given.y[:1])


def _tridiagonal(given: Given) -> object:
    operator = HessianOperator(given.model, given.x, given.y, given.loss)
    start = torch.linspace(1, 2, operator.shape[0], dtype=operator.dtype)[:, None]
    found = lanczos(operator, start, n_iter=3, generator=seeded(5))
    return found.diagonal, found.off_diagonal


def _spectrum_by_lanczos(given: Given) -> object:
    """Take enough steps for each network's outliers to be resolved."""
    options = {"method": "lanczos", "n_iter": 60, "probes": 2, "generator": seeded(5)}
    report = hessian_spectrum(given.model, given.x, given.y, loss=given.loss, **options)
    return report.eigenvalues[:2].clone(), report.density.moment(1)  # the smallest points differ by rounding


def _linearity(given: Given) -> object:
    k = torch.arange(len(given.x)) % 2
    pair, radii = torch.stack([1 - k, k], dim=1), torch.tensor([0.5, 1.0]).to(given.x)
    return almost_linearity(given.model, given.x, direction=torch.ones_like(given.x), radii=radii, class_pair=pair)


def _canary_loss(given: Given) -> object:
    seen = torch.arange(len(given.x)) % 2 == 0
    with preserved(given.model):
        return canary_objective(given.model, given.x[:, None], given.y, seen, target_logits=(3.0, 0.0))


def _surrogate(given: Given) -> object:
    network = with_surrogate_relu(given.model, alpha=10.0)
    set_sharpness(network, 20.0)
    return network.requires_grad_(False), network(given.x.clone())


def _velocity(given: Given) -> object:
    return kernel_velocity(given.model, given.x, states=[given.build().state_dict(), given.other().state_dict()])


OF_THE_NETWORK: dict[str, Callable[[Given], object]] = {
    "hessian_spectrum by Lanczos": _spectrum_by_lanczos,
    "lanczos": _tridiagonal,
    "linear_path": _linear_path,
    "per_sample_loss_change": _loss_change,
    "track_opposing": _track,
    "find_opposing_groups": lambda given: _moved(given, "gradient"),
    "find_opposing_groups along the eigenvector": lambda given: _moved(given, "eigenvector"),
    "mean_over_samples": _weighted_mean,
    "DirectAttack": _direct,
    "CanaryAttack": _canary,
    "ShadowEnsemble": _trained_shadows,
    "simulate_training": _simulated,
    "almost_linearity": _linearity,
    "canary_objective": _canary_loss,
    "input_gradient": _weighted_input_gradient,
    "invert_embedding": _embedding,
    "with_surrogate_relu": _surrogate,
    "kernel_velocity": _velocity,
    "first_layer_inputs": lambda given: first_layer_inputs(given.model, given.x),
    "off_subspace_radius": _off_radius,
    "vector_jacobian_product": _cotangent,
    "parameter_distance": lambda given: parameter_distance(given.model, given.other()),
    "project_parameters": _projected,
    "calibrate_alpha": _calibrated,
    "token_logits": _token_scores,
    "build_assistant": lambda given: build_assistant(given.model, 1, lora_rank=1, generator=seeded(5)),
    "reversed_objective": _unlearning_loss,
    "unlearn": _unlearned,
}
"""Calls of rows that name shapes or networks of their own, by the name of the row."""

OWN_LOSS = (
    "find_opposing_groups",
    "find_opposing_groups along the eigenvector",
    "hessian_spectrum by Lanczos",
    "lanczos",
    "linear_path",
    "per_sample_loss_change",
    "track_opposing",
    "ShadowEnsemble",
)
"""Those among them that are given the network's loss."""
