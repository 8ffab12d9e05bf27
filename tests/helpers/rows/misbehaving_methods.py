"""Methods that are given a network: two that behave, and others that do one thing wrong each."""

import torch

from assay.core import InvalidInputError


class BrokenError(Exception):
    """What a network raises that is made to break down."""


def logits(model, x):
    """Return what a well-behaved method would."""
    training, frozen = model.training, [value.requires_grad for value in model.parameters()]
    try:
        model.eval()
        with torch.no_grad():
            return model(x)
    finally:
        model.train(training)
        for value, requires_grad in zip(model.parameters(), frozen, strict=True):
            value.requires_grad_(requires_grad)


def well(model, x, *, batch_size=5):
    if len(x) == 0:
        raise InvalidInputError("x must be non-empty")
    return torch.cat([logits(model, part) for part in x.split(batch_size)])


def with_nan(model, x):
    return well(model, x) * float("nan")


def nan_alone(model, x):
    return well(model, x) / (len(x) - 1)


def trains(model, x):
    model.train()
    model.eval()
    return well(model, x)


def clears(model, x):
    model.zero_grad(set_to_none=False)
    return well(model, x)


def draws(model, x):
    return torch.rand(3, dtype=x.dtype)


def noisy(model, x, *, generator):
    return well(model, x) + torch.rand(1, generator=generator).to(x)


def writes(model, x):
    x += 1
    return well(model, x)


def hooks(model, x):
    model.register_forward_pre_hook(lambda module, inputs: None)
    return well(model, x)


def breaks(model, x):
    model.eval()
    answer = logits(model, x)
    model.train()
    return answer


def swallows(model, x):
    try:
        return well(model, x)
    except BrokenError:
        return x


def ignores_emptiness(model, x):
    return logits(model, x)


def doubles(model, x):
    return well(model, x).double()


def loses_digits(model, x):
    return well(model, x) if x.dtype == torch.float64 else well(model, x).half().float()


def batches(model, x, *, batch_size=5):
    return torch.cat([logits(model, part - part.mean(0)) for part in x.split(batch_size)])


def sparse_figures(model, x):
    return well(model, x).to_sparse()


def with_graph(model, x):
    return well(model, x).requires_grad_()
