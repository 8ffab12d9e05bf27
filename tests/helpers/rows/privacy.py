"""The rows of `assay.privacy`."""

import copy

import torch
from torch import nn

from assay.core import flatten, named_parameters, preserved
from assay.nets import mlp
from assay.nets.diffusion import (
    GuidedDDIMSampler,
    linear_noise_schedule,
)
from assay.privacy import (
    BullseyePolytope,
    CanaryAttack,
    DatasetCondenser,
    DirectAttack,
    GuidedDiffusionPoisoner,
    LogitDifferenceModel,
    PoisonGoal,
    ShadowEnsemble,
    TriggerSet,
    WitchesBrew,
    calibrate_alpha,
    evaluate_condensed,
)
from assay.privacy.condensation import (
    ClassWiseGradientMatching,
    ContrastiveGradientMatching,
    kernel_velocity,
)
from assay.privacy.poisoning import (
    gradient_alignment_loss,
    poison_target_gradient,
)
from assay.privacy.unlearning import (
    QAExamples,
)
from assay.privacy.watermark import (
    Retraining,
    TriggerAscent,
    smoothed_trigger_accuracy,
    smoothed_trigger_gradient,
)
from helpers.rows.base import Row, Tokens, language_model, relu_network


def _shadows(model, x):
    """The model itself and three others, half of which have seen each sample."""
    others = [mlp((4, 6, 3), generator=torch.Generator().manual_seed(k)).to(x) for k in (2, 3, 4)]
    seen = torch.arange(len(x)) % 2 == torch.tensor([[0], [1], [0], [1]])
    return ShadowEnsemble((model, *others), seen.to(x.device), x)


def _direct_attack(model, x, y, generator, **options):
    target = mlp((4, 6, 3), generator=torch.Generator().manual_seed(5)).to(x)
    shadows = _shadows(model, x)
    return {"scores": DirectAttack(shadows).score([target], x, y, **options), "phi": shadows.confidences(x, y)}


def _canary_attack(model, x, y, generator, **options):
    # A few steps: Adam divides by the gradient's size, which blows up rounding where gradients vanish.
    attack = CanaryAttack(_shadows(model, x), n_queries=2, eps=0.1, n_iter=3)
    queries = attack.craft(x, y, generator=generator, **options)
    return {"queries": queries, "scores": attack.score([model], x, y, queries=queries, **options)}


def _gradient_matching(model, x, y, generator, **options):
    synthetic = (1 - x).requires_grad_()
    losses = [kind()(model, synthetic, y, x, y) for kind in (ClassWiseGradientMatching, ContrastiveGradientMatching)]
    slopes = torch.autograd.grad(sum(losses), synthetic)[0]
    return {"losses": torch.stack(losses).detach(), "slopes": slopes}


def _dataset_condenser(model, x, y, generator, **options):
    seed = int(torch.randint(2**31, (1,), generator=generator))
    condenser = DatasetCondenser(
        1, model_fn=lambda source: copy.deepcopy(model), outer_steps=2, inner_steps=2, outer_warmup=1, random_state=seed
    )
    condensed = condenser.fit(x, y)
    return {"data": condensed.data_, "targets": condensed.targets_}


def _evaluate_condensed(model, x, y, generator, **options):
    report = evaluate_condensed(x, y, x, y, model_fn=lambda source: copy.deepcopy(model), n_models=2, epochs=2)
    return {"accuracies": x.new_tensor(report.accuracies)}


def _kernel_velocity(model, x, y, generator, **options):
    other = {name: -value for name, value in model.state_dict().items()}
    return {"velocity": kernel_velocity(model, x, [model.state_dict(), other], **options)}


def _poison_matching(model, x, y, generator, **options):
    target = poison_target_gradient(model, PoisonGoal(x[:1], 2))
    losses = gradient_alignment_loss(model, x, y, target, per_sample=True)
    return {"losses": losses, "together": gradient_alignment_loss(model, x, y, target)}


def _poison(attack):
    def run(model, x, y, generator, **options):
        return {"poisons": attack(eps=0.1, n_iter=3)(model, x, PoisonGoal(x[:1], 2))}

    return run


def _guided_bases(model, x, y, generator, **options):
    schedule = linear_noise_schedule(6, 0.05, 0.4).to(x)
    poisoner = GuidedDiffusionPoisoner(model, GuidedDDIMSampler(lambda x, t: x / 2, schedule, recurrence=2))
    return {"bases": poisoner.generate_bases(PoisonGoal(x[:1], 2), 5, generator=generator, **options)}


def _smoothed_trigger_accuracy(model, x, y, generator, **options):
    triggers = TriggerSet(x, label=1)
    return {"accuracies": smoothed_trigger_accuracy(model, triggers, sigma=0.3, n=9, generator=generator, **options)}


def _smoothed_trigger_gradient(model, x, y, generator, **options):
    triggers = TriggerSet(x, label=1)
    return {"gradient": smoothed_trigger_gradient(model, triggers, sigma=0.3, n=9, generator=generator, **options)}


def _removal(attack, model, x, y, generator, **options):
    triggers = TriggerSet(x, label=1)
    report = attack.run(model, x, y, triggers=triggers, test=(x, y), sigma=0.3, n_draws=9, generator=generator)
    return {"parameters": flatten(named_parameters(report.model))}


def _trigger_ascent(model, x, y, generator, **options):
    return _removal(TriggerAscent(0.5, sigma=0.3, n_noise=5, n_iter=3), model, x, y, generator)


def _retraining(model, x, y, generator, **options):
    return _removal(Retraining(0.5, epochs=2, lr=0.01), model, x, y, generator)


def _unlearning(model, x, y, generator, **options):
    # What the model says itself after each token is to be forgotten, and the assistant knows just that.
    with preserved(model), torch.no_grad():
        said = model(torch.arange(3, device=x.device)).argmax(1)
    first = Tokens()(x)[:, :1]
    documents = QAExamples.from_tokens(torch.cat([first, said[first]], dim=1), prompt_length=1)
    assistant = nn.Embedding.from_pretrained(3 * torch.eye(3, dtype=x.dtype, device=x.device)[said])
    alpha = calibrate_alpha(model, assistant, documents, forget_accuracy=0.0, **options)
    with preserved(model), torch.no_grad():
        logits = LogitDifferenceModel(model, assistant, alpha)(documents.input_ids)
    return {"alpha": x.new_tensor(alpha), "logits": logits}


ROWS = (
    Row("DirectAttack", _direct_attack, batch_option="batch_size"),
    Row("CanaryAttack", _canary_attack, batch_option="batch_size"),
    Row("gradient matching", _gradient_matching),
    Row("DatasetCondenser", _dataset_condenser),
    Row("evaluate_condensed", _evaluate_condensed),
    Row("kernel_velocity", _kernel_velocity, batch_option="batch_size"),
    Row("gradient_alignment_loss", _poison_matching),
    Row("WitchesBrew", _poison(WitchesBrew)),
    Row("BullseyePolytope", _poison(BullseyePolytope)),
    Row("GuidedDiffusionPoisoner", _guided_bases, batch_option="batch_size"),
    Row("smoothed_trigger_accuracy", _smoothed_trigger_accuracy, batch_option="batch_size"),
    Row("smoothed_trigger_gradient", _smoothed_trigger_gradient, batch_option="batch_size"),
    Row("TriggerAscent", _trigger_ascent),
    Row("Retraining", _retraining, model=relu_network),  # dropout would draw other masks in float32
    Row("calibrate_alpha", _unlearning, model=language_model, batch_option="batch_size"),
)
