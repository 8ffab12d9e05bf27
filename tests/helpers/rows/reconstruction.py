"""The rows of `assay.reconstruction`."""

import torch

from assay.core import cross_entropy
from assay.reconstruction import (
    KKTReconstructor,
    SimulatedDynamicsReconstructor,
    invert_embedding,
    predicted_multipliers,
)
from helpers.rows.base import Row, image_encoder, relu_network


def _reconstruction(model, x, y, generator, **options):
    seed = int(torch.randint(2**31, (1,), generator=generator))
    attack = KKTReconstructor(
        "multiclass", n_candidates=6, n_restarts=2, n_iter=5, dtype=x.dtype, random_state=seed, **options
    ).fit(model)
    return {"pool": attack.pool_, "multipliers": attack.pool_multipliers_, "residual": attack.residual_}


def _simulated_dynamics(model, x, y, generator, **options):
    seed = int(torch.randint(2**31, (1,), generator=generator))
    start = {name: 0.9 * value for name, value in model.state_dict().items()}
    attack = SimulatedDynamicsReconstructor(start, n_samples=2, epochs=2, n_iter=3, random_state=seed).fit(model)
    return {"found": attack.reconstructions_, "targets": attack.targets_}


def _predicted_multipliers(model, x, y, generator, **options):
    return {"multipliers": predicted_multipliers(model, x, y, loss=cross_entropy, weight_decay=0.1, **options)}


def _invert_embedding(model, x, y, generator, **options):
    target = torch.tensor([1.0, -1.0, 0.5], dtype=x.dtype, device=x.device)
    found = invert_embedding(model, target, image_shape=(1, 2, 2), n_iter=5, generator=generator, **options)
    return {"image": found.image, "cosine": x.new_tensor(found.history[:-1])}


ROWS = (
    Row("KKTReconstructor", _reconstruction, model=relu_network, needs_data=False, batch_option="batch_size"),
    Row("SimulatedDynamicsReconstructor", _simulated_dynamics, model=relu_network, needs_data=False),
    Row("predicted_multipliers", _predicted_multipliers),
    Row("invert_embedding", _invert_embedding, model=image_encoder, needs_data=False),
)
