"""The rows of `assay.core`: what takes a network, and the formulas that rooms build on."""

from functools import partial

import torch
from torch import nn

from assay.core import (
    DenseOperator,
    FisherOperator,
    GaussNewtonOperator,
    HessianOperator,
    SequentialTrainer,
    StackedTrainer,
    assign_parameters,
    batch_sizes,
    best_other,
    binary_cross_entropy,
    check_flags,
    check_logits,
    check_outputs,
    check_scores,
    cosine_distance,
    cross_entropy,
    find_copies,
    fit,
    flatten,
    functional,
    gradient_moments,
    hessian_vector_product,
    input_gradient,
    inspect_model,
    jacobian_vector_product,
    kernel_distance,
    layer_names,
    layer_outputs,
    margins,
    mean_loss,
    mean_over_samples,
    named_parameters,
    order_statistic_index,
    output_jacobian,
    parameter_distance,
    parameter_gradients,
    per_sample,
    per_sample_gradient_norms,
    per_sample_gradients,
    predict,
    preserved,
    project_parameters,
    seeded,
    signs,
    single_logit,
    squared_error,
    unflatten,
    unwrapped,
    vector_jacobian_product,
    watch_layers,
)
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula
from helpers.rows.subjects import classifier, relu_network

sgd = partial(torch.optim.SGD, lr=0.1)


def _ones(model, x, y, params="trainable"):
    return {"vector": torch.ones_like(flatten(named_parameters(model, params=params)))}


def _hessian(model, x, y, generator, batch_size=5):
    return HessianOperator(model, x, y, cross_entropy, batch_size=batch_size).to_dense()


def _gauss_newton(model, x, y, generator, batch_size=5):
    return GaussNewtonOperator(model, x, y, cross_entropy, batch_size=batch_size).to_dense()


def _fisher(model, x, y, generator, batch_size=5):
    return FisherOperator(model, x, y, cross_entropy, batch_size=batch_size).to_dense()


def _as_a_function(model, x, y, generator):
    parameters = named_parameters(model)
    return functional(model)({name: 2 * value for name, value in parameters.items()}, x)


def _weighted_mean(model, x, y, generator):
    mean = mean_over_samples(nn.CrossEntropyLoss(weight=1 + torch.arange(3.0)), model, x, y)
    return mean(predict(model, x), y), mean(predict(model, x[:1]), y[:1])


def _preserved(model, x, y, generator):
    with preserved(model), torch.no_grad():
        return model(x)


def _input_gradient(model, x, y, generator):
    return input_gradient(model, x, lambda outputs: outputs.sum(1))


def _layers(model, x, y, generator, batch_size=4):
    outputs = layer_outputs(model, x, layer_names(model, x)[:3], batch_size=batch_size)
    return [value.flatten(1) for value in outputs.values()]


def _watched(model, x, y, generator):
    network = unwrapped(model)
    with preserved(network), watch_layers(network, layer_names(model, x)[:1]) as watch:
        score = network(x).sum()
    return [torch.autograd.grad(score, value)[0] for value in watch.outputs.values()]


def _problems(model, x, y, generator):
    return len(inspect_model(model, x)) + len(inspect_model(model))


def _moments(model, x, y, generator, batch_size=5):
    moments = gradient_moments(model, x, y, cross_entropy, batch_size=batch_size)
    return flatten(moments.mean), moments.norms


def _projected(model, x, y, generator):
    return project_parameters(model, classifier().to(x).requires_grad_(False), 0.1)


def _stacked(model, x, y, generator):
    trainer = StackedTrainer(cross_entropy, sgd, epochs=2, batch_size=3)
    trainer([model], x, y, torch.ones(1, len(x), dtype=torch.bool, device=x.device), generator=seeded(5))


def _sequential(model, x, y, generator):
    trainer = SequentialTrainer(lambda one, x, y, source: fit(one, x, y, loss=cross_entropy, optimizer=sgd, epochs=2))
    trainer([model], x, y, torch.ones(1, len(x), dtype=torch.bool, device=x.device), generator=seeded(5))


def _logits(source, n):
    return torch.randn(n, 3, generator=source, dtype=torch.float64), torch.arange(n) % 3


def _scores(source, n):
    return torch.randn(n, generator=source, dtype=torch.float64), torch.arange(n) % 2


def _kernels(source, n):
    factors = torch.randn(2, 5, 4, generator=source, dtype=torch.float64)
    return tuple(factor @ factor.T for factor in factors)


def _vectors(source, n):
    return torch.randn(n, 4, generator=source).double(), torch.randn(n, 4, generator=source).double()


def _parameters(source, n):
    return ({"weight": torch.randn(3, 2, generator=source, dtype=torch.float64), "bias": torch.ones(3).double()},)


def _with_copies(source, n):
    pool = torch.randn(n, 4, generator=source, dtype=torch.float64)
    return pool[:2], pool.repeat(2, 1)


def _vector(source, n):
    return torch.randn(9, generator=source, dtype=torch.float64), *_parameters(source, n)


ROWS = (
    Analysis(per_sample_gradients),
    Analysis(per_sample_gradient_norms),
    Analysis(gradient_moments, run=_moments),
    Analysis(parameter_gradients),
    Analysis(output_jacobian),
    Analysis(hessian_vector_product, options=_ones),
    Analysis(jacobian_vector_product, options=_ones),
    Analysis(vector_jacobian_product, options=lambda model, x, y: {"cotangent": torch.ones_like(x[:, :3])}),
    Analysis(HessianOperator, run=_hessian),
    Analysis(GaussNewtonOperator, run=_gauss_newton),
    Analysis(FisherOperator, run=_fisher),
    Analysis(predict),
    Analysis(mean_loss),
    Analysis(mean_over_samples, run=_weighted_mean),
    Analysis(check_logits),
    Analysis(check_outputs),
    Analysis(check_scores),
    Analysis(preserved, run=_preserved, needs_data=False),
    Analysis(input_gradient, run=_input_gradient, model=relu_network, needs_data=False),
    Analysis((functional, named_parameters), run=_as_a_function, model=relu_network, needs_data=False),
    Analysis((layer_names, layer_outputs), run=_layers),
    Analysis(watch_layers, run=_watched),
    Analysis(inspect_model, run=_problems, needs_data=False),
    Analysis(parameter_distance, options=lambda model, x, y: {"other": classifier().to(x)}, needs_data=False),
    Analysis(project_parameters, run=_projected, trains=True, needs_data=False),
    Analysis(assign_parameters, options=partial(_ones, params="all"), trains=True, needs_data=False),
    # Without dropout, which draws from the global state in training.
    Analysis(fit, options={"optimizer": sgd, "epochs": 3}, trains=True, model=relu_network, mini_batches=True),
    Analysis(StackedTrainer, run=_stacked, trains=True, model=relu_network, needs_data=False),
    Analysis(SequentialTrainer, run=_sequential, trains=True, model=relu_network, needs_data=False),
    Formula(margins, _logits),
    Formula(margins, _scores, variant="of one logit"),
    Formula(best_other, _logits),
    Formula(cross_entropy, _logits, rowwise=False),
    Formula(binary_cross_entropy, _scores, rowwise=False),
    Formula(squared_error, _scores, rowwise=False),
    Formula(single_logit, lambda source, n: _scores(source, n)[:1]),
    Formula(signs, lambda source, n: _scores(source, n)[1:], refuses=("empty",)),  # entry by entry
    Formula(find_copies, _with_copies, rowwise=False, refuses=()),  # what differs in shape has no copy
    Formula(batch_sizes, lambda source, n: (25, 8), rowwise=False),
    Formula(
        check_flags,
        lambda source, n: (torch.arange(n) % 2, "members"),
        rowwise=False,
        refuses=("empty",),
        wrong={"other numbers": lambda: (torch.arange(3), "members")},
    ),
    Formula(kernel_distance, _kernels, rowwise=False),
    Formula(cosine_distance, _vectors, options={"floor": 1e-6}, refuses=()),  # other axes broadcast
    Formula(per_sample, lambda source, n: (torch.randn(n, generator=source), torch.zeros(n, 2, 3)), refuses=()),
    Formula(
        order_statistic_index,
        lambda source, n: (100, 0.5),
        rowwise=False,
        wrong={"no sample": lambda: (0, 0.5), "no fraction": lambda: (100, 1.5)},
    ),
    Formula(flatten, _parameters, rowwise=False),
    Formula(unflatten, _vector, rowwise=False),
    Formula(
        DenseOperator,
        lambda source, n: _kernels(source, n)[:1],
        run=lambda matrix: DenseOperator(matrix) @ matrix[:, :2],
        rowwise=False,
    ),
)
