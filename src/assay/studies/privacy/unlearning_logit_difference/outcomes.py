"""Knowledge, truth ratios and utility that a language model has of the parts of a world."""

import torch
from torch import Tensor, nn

from assay.core import preserved, seeded
from assay.privacy import forget_quality
from assay.privacy.unlearning import (
    QAExamples,
    answer_logits,
    answer_nll,
    tofu_model_utility,
    token_logits,
    truth_ratio,
    truth_ratio_score,
)
from assay.studies.privacy.unlearning_logit_difference.facts import World

Outcome = dict[str, float]
"""What is measured of a model, by name."""


def outcome(model: nn.Module, retrained: nn.Module, world: World) -> Outcome:
    """Return the share of right answers in every part, the utility, and the loss and quality of what is forgotten.

    The quality is the p-value against the truth ratios of a model that was trained without the forget facts.
    """
    known = {name: knowledge(model, part) for name, part in world.parts().items()}
    kept = [world.retain, world.unseen]
    scores = [truth_ratio_score(truth_ratios(model, part)).mean().item() for part in kept]
    ratios = truth_ratios(model, world.forget)
    figures = [known[name][figure] for name in ("retain", "unseen") for figure in ("accuracy", "probability")]
    return {
        **{name: figures["accuracy"] for name, figures in known.items()},
        "forget loss": known["forget"]["loss"],
        "forget quality": forget_quality(ratios, truth_ratios(retrained, world.forget)).p_value,
        "unseen probability": known["unseen"]["probability"],
        "utility": tofu_model_utility([*figures, *scores]),
    }


def knowledge(model: nn.Module, examples: QAExamples) -> dict[str, float]:
    """Return how often the right object is the likeliest, its mean probability, and its mean loss."""
    with preserved(model), torch.no_grad():
        logits = token_logits(model, examples)
        scores, objects = answer_logits(logits, examples.labels)
        nll = answer_nll(logits, examples.labels)
    return {
        "accuracy": (scores.argmax(1) == objects).double().mean().item(),
        "probability": nll.neg().exp().mean().item(),
        "loss": nll.mean().item(),
    }


def truth_ratios(model: nn.Module, examples: QAExamples, n_wrong: int = 5) -> Tensor:
    """Return the truth ratio of each fact, against wrong objects that are drawn the same way every time."""
    own_objects = examples.input_ids[:, 2].contiguous()
    objects = own_objects.unique()
    drawn = torch.randint(len(objects) - 1, (len(examples), n_wrong), generator=seeded(0))
    own = torch.searchsorted(objects, own_objects)[:, None]
    wrong = objects[drawn + (drawn >= own)]  # every other object is as likely as any
    with preserved(model), torch.no_grad():
        logits = token_logits(model, examples).double()  # ascent makes ratios that a float cannot hold
    right = answer_nll(logits, examples.labels)
    # One token answers: the same scores judge every object.
    misses = -logits[:, 1].log_softmax(-1).gather(1, wrong)
    return truth_ratio(right, misses)


def spread(model: nn.Module, examples: QAExamples) -> float:
    """Return the distance between the quartiles of the logarithms of the truth ratios."""
    ratios = truth_ratios(model, examples).log()
    return (ratios.quantile(0.75) - ratios.quantile(0.25)).item()
