"""The rows of `assay.core`."""

import torch

from assay.core import (
    cross_entropy,
    hessian_vector_product,
    output_jacobian,
    per_sample_gradient_norms,
    per_sample_gradients,
    predict,
)
from helpers.rows.base import Row


def _gradients(model, x, y, generator, **options):
    return {"gradients": per_sample_gradients(model, x, y, cross_entropy, **options)}


def _gradient_norms(model, x, y, generator, **options):
    return {"norms": per_sample_gradient_norms(model, x, y, cross_entropy, **options)}


def _jacobian(model, x, y, generator, **options):
    return {"jacobian": output_jacobian(model, x, **options)}


def _hessian_vector_product(model, x, y, generator, **options):
    size = sum(parameter.numel() for parameter in model.parameters())
    vector = torch.ones(size, dtype=x.dtype, device=x.device)
    return {"product": hessian_vector_product(model, x, y, cross_entropy, vector, **options)}


def _predict(model, x, y, generator, **options):
    return {"logits": predict(model, x, **options)}


ROWS = (
    Row("per_sample_gradients", _gradients, batch_option="batch_size"),
    Row("per_sample_gradient_norms", _gradient_norms, batch_option="batch_size"),
    Row("output_jacobian", _jacobian, batch_option="batch_size"),
    Row("hessian_vector_product", _hessian_vector_product, batch_option="batch_size"),
    Row("predict", _predict, batch_option="batch_size"),
)
