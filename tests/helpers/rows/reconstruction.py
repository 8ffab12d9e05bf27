"""The rows of `assay.reconstruction`."""

import torch
from torch import nn

from assay.core import isolated_rng, named_parameters, squared_error
from assay.reconstruction import (
    ConsensusSelector,
    InitialState,
    KKTReconstructor,
    KnownStartReconstructor,
    ShadowReconstructor,
    SimulatedDynamicsReconstructor,
    exact_samples,
    guess_initial_state,
    invert_embedding,
    normalized_correlation,
    oracle_multipliers,
    predicted_multipliers,
    reconstruction_roc,
    retrieval_audit,
    score_reconstructions,
    simulate_training,
    stationarity_residual,
    structural_similarity,
    train_in_span,
    train_to_stationarity,
)
from assay.reconstruction.embeddings import total_variation
from assay.reconstruction.kkt import (
    SurrogateKinks,
    SurrogateReLU,
    compress_first_layer,
    dense_head,
    first_layer_inputs,
    initial_network,
    margin_cotangents,
    merge_parallel_units,
    noise_rank,
    set_sharpness,
    with_surrogate_relu,
)
from assay.reconstruction.known_start import measure_displacement, start_share
from helpers.rows.base import Analysis, Estimator
from helpers.rows.standalone import Formula, Module
from helpers.rows.subjects import image_encoder, one_output, relu_network, smooth_network


def _search(model, x, y):
    return {"objective": "multiclass", "n_candidates": 6, "n_restarts": 2, "n_iter": 5, "dtype": x.dtype}


def _start(model):
    state = model.state_dict().items()
    return {name: value if nn.parameter.is_lazy(value) else 0.9 * value for name, value in state}


def _drawn():
    """Return a network that seed 2 draws, with a part of its start left."""
    with isolated_rng(2), torch.no_grad():
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
        for weight in model.parameters():
            weight.mul_(0.9)
    return model


def _fine_tuned(model, x, y, generator):
    return InitialState.from_checkpoint(model, _start(model))


def _shares(model, x, y, generator):
    weights = named_parameters(model)
    return start_share({name: 0.9 * value for name, value in weights.items()}, weights)


def _simulation(model, x, y):
    return {"init_state": _start(model), "n_samples": 2, "epochs": 2, "n_iter": 3}


def _known_start(model, x, y):
    state = {name: value for name, value in _start(model).items() if not nn.parameter.is_lazy(value)}
    moved = {name: value - 0.1 if torch.is_floating_point(value) else value for name, value in state.items()}
    return {"init_state": moved, "n_restarts": 2, "n_iter": 5, "dtype": x.dtype}


def _layer_before_and_after(source, n):
    start = torch.randn(12, 8, generator=source).double()
    return start, 0.9 * start + torch.outer(start[:, 0], start[0])


def _displaced(start, end):
    found = measure_displacement(start, end)
    projection = found.basis.T @ found.basis  # the basis is known up to signs, and in float64 whatever the weights
    return found.share, found.values[: found.rank].to(start), projection.to(start)


def _of_two_runs(selector, model, x, y):
    runs = torch.arange(2, device=x.device).repeat_interleave(len(x))
    return selector.fit(torch.cat([x, 1.01 * x]), runs)


def _inversion(model, x, y):
    target = torch.tensor([1.0, -1.0, 0.5], dtype=x.dtype, device=x.device)
    return {"target": target, "image_shape": (1, 2, 2), "n_iter": 5}


def _weighted(model, x, y):
    return {"multipliers": torch.linspace(0.5, 1.0, len(x)).to(x), "objective": "multiclass"}


def _simulated(model, x, y, generator):
    targets = nn.functional.one_hot(y, 3).to(x)
    after = simulate_training(model, x, targets, loss=squared_error, lr=0.1, epochs=2, momentum=0.5)
    return {name: value.detach() for name, value in after.items()}


def _compressed(model, x, y, generator):
    found = compress_first_layer(model, 2)
    return found.basis.T @ found.basis, found.lost  # the basis itself is known up to a rotation


def _image_samples(model, x, y, generator):
    return first_layer_inputs(model, x.reshape(-1, 1, 2, 2) if len(x) else x)


def _softened(model, x, y, generator):
    network = with_surrogate_relu(model, alpha=10.0)
    set_sharpness(network, 20.0)
    return network.requires_grad_(False), network(x)


def _flat(source, n):
    return torch.randn(n, 5, generator=source).double(), torch.randn(4, 5, generator=source).double()


def _images(source, n):
    return tuple(torch.rand(2, n, 1, 4, 4, generator=source).double())


def _pool(source, n):
    x = torch.randn(n, 5, generator=source).double()
    return x[:2] + 0.1, x, torch.arange(n) < 3


def _outputs(source, n):
    return torch.randn(n, 3, generator=source).double(), torch.arange(n) % 3, torch.rand(n, generator=source).double()


def _candidates(source, n):
    members, candidates = _flat(source, n)
    return candidates, members, 1 - members


def _roc(candidates, members, nonmembers):
    found = reconstruction_roc(candidates, members, nonmembers)
    return found.members, found.nonmembers, found.curve.auc  # the curve's rates are float64 whatever the samples


def _score(candidates, x):
    found = score_reconstructions(candidates, x, held_out_x=x[:2] + 1)
    return found.best, found.index, found.ncc, found.held_out_ncc


NO_KINK = {"weight_decay": 0.1, "tolerance": 1e-4, "n_iter": 5}
IN_SPAN = {"weight_decay": 0.1, "n_iter": 5}

ROWS = (
    Estimator(KKTReconstructor, options=_search),
    Estimator(KnownStartReconstructor, options=_known_start),
    # Its history is the norm of a difference that nearly cancels.
    Estimator(SimulatedDynamicsReconstructor, options=_simulation, tolerance=2e-4),
    Estimator(ConsensusSelector, fit=_of_two_runs),
    Estimator(
        ShadowReconstructor,
        options={"hidden": (4,), "n_iter": 3},
        mini_batches=True,
        fit=lambda reader, model, x, y: reader.fit(x, 2 * x),
    ),
    Analysis(
        guess_initial_state,
        options={"seeds": range(4), "dtypes": [torch.float32], "level": 0.5},
        model=_drawn,
        needs_data=False,
    ),
    Analysis(InitialState, run=_fine_tuned, needs_data=False),
    Analysis(start_share, run=_shares, needs_data=False),
    Analysis(exact_samples, options={"n_starts": 4, "n_rounds": 1}, model=one_output, needs_data=False),
    Analysis(invert_embedding, options=_inversion, model=image_encoder, needs_data=False, random=True),
    Analysis(oracle_multipliers, options={"objective": "multiclass"}),
    Analysis(predicted_multipliers, options={"weight_decay": 0.1}),
    Analysis(stationarity_residual, options=_weighted),
    Analysis(simulate_training, run=_simulated, model=relu_network),
    Analysis(train_in_span, options=IN_SPAN, trains=True, model=relu_network),
    Analysis(train_to_stationarity, options=NO_KINK, trains=True, model=smooth_network),
    Analysis(compress_first_layer, run=_compressed, needs_data=False),
    Analysis(merge_parallel_units, model=relu_network, needs_data=False),
    Analysis(dense_head, model=relu_network),
    Analysis(first_layer_inputs, run=_image_samples, model=image_encoder),
    Analysis(
        initial_network,
        options=lambda model, x, y: {"state": _start(model)},
        model=relu_network,
        needs_data=False,
    ),
    Analysis((with_surrogate_relu, set_sharpness), run=_softened, model=relu_network, needs_data=False),
    Module(
        SurrogateReLU,
        lambda source, n: (torch.randn(n, 4, generator=source).double(),),
        options={"alpha": 10.0},
        gradcheck=False,  # its derivative is the surrogate's
        refuses=("empty",),  # entry by entry
    ),
    Module(
        SurrogateKinks,
        lambda source, n: (torch.randn(n, 4, generator=source).double(),),
        options={"activation": nn.LeakyReLU(0.2), "alpha": 10.0},
        gradcheck=False,  # its derivative is the surrogate's
        refuses=("empty",),  # entry by entry
    ),
    Formula(normalized_correlation, _flat),
    Formula(structural_similarity, _images),
    Formula(
        total_variation,
        lambda source, n: _images(source, n)[:1],
        rowwise=False,
        refuses=("empty",),  # any axes before those of the pixels
    ),
    Formula(reconstruction_roc, _candidates, run=_roc, rowwise=False, refuses=("axis", "empty")),
    Formula(retrieval_audit, _pool, run=lambda *pool: retrieval_audit(*pool, k=2), rowwise=False),
    Formula(score_reconstructions, _flat, run=_score, rowwise=False),
    Formula(margin_cotangents, _outputs, refuses=("rows", "empty")),  # any axes before the rows
    Formula(measure_displacement, _layer_before_and_after, run=_displaced, rowwise=False),
    Formula(noise_rank, lambda source, n: _flat(source, n)[:1], rowwise=False),
)
