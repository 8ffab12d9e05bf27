"""The battery's rows: one for each public method that takes a model.

To add a method, add a row. Its `run` is the plain call, with every answer that matters brought into named tensors.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.adversarial import (
    FGSM,
    MALT,
    Lp,
    StepLeastLikely,
    SubspaceBasis,
    TargetedAPGD,
    TargetedStep,
    adversarial_error_curve,
    almost_linearity,
    apgd,
    fgsm,
    linear_response_error,
    linear_response_radius,
    malt_scores,
    malt_targets,
    off_subspace_attack,
    off_subspace_gradient,
    off_subspace_radius,
    pgd,
    robust_accuracy,
    targeted_apgd,
)
from assay.core import (
    cross_entropy,
    flatten,
    hessian_vector_product,
    named_parameters,
    output_jacobian,
    per_sample_gradient_norms,
    per_sample_gradients,
    predict,
    preserved,
)
from assay.landscape import gauss_newton_decomposition, gradient_covariance_alignment, hessian_spectrum, linear_path
from assay.nets import TwoLayerReLU, mlp
from assay.privacy import (
    BullseyePolytope,
    CanaryAttack,
    ClassWiseGradientMatching,
    ContrastiveGradientMatching,
    DatasetCondenser,
    DirectAttack,
    Documents,
    GradientMatchingAttack,
    GuidedDDIMSampler,
    GuidedDiffusionPoisoner,
    LogitDifferenceModel,
    PoisonGoal,
    Retraining,
    ShadowEnsemble,
    TriggerAscent,
    TriggerSet,
    calibrate_alpha,
    evaluate_condensed,
    gradient_matching_loss,
    kernel_velocity,
    linear_noise_schedule,
    poison_target_gradient,
    smoothed_trigger_accuracy,
    smoothed_trigger_gradient,
)
from assay.reconstruction import (
    KKTReconstructor,
    SimulatedDynamicsReconstructor,
    invert_embedding,
    predicted_multipliers,
)

Answer = dict[str, Tensor]


def classifier() -> nn.Module:
    """Three classes of four features, with a dropout layer that must not act."""
    first, *rest = mlp((4, 6, 3), generator=torch.Generator().manual_seed(1))
    return nn.Sequential(first, *rest[:-1], nn.Dropout(0.5), rest[-1])


def relu_network() -> nn.Module:
    """Three classes of four features, and nothing but what the theory of reconstruction allows."""
    return mlp((4, 6, 3), bias="first", generator=torch.Generator().manual_seed(1))


def image_encoder() -> nn.Module:
    """Three features of images of 2 x 2 pixels."""
    return nn.Sequential(nn.Flatten(), *relu_network())


def two_layer() -> nn.Module:
    """One score of four features, from the network that theory is about."""
    return TwoLayerReLU(4, 12, generator=torch.Generator().manual_seed(1))


class Tokens(nn.Module):
    """Turns what lies between 0 and 1 to one of three tokens, and leaves tokens as they are."""

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens."""
        return (3 * x).long() if x.is_floating_point() else x


def language_model() -> nn.Module:
    """Scores three tokens, with a dropout layer that must not act."""
    source = torch.Generator().manual_seed(1)
    table = nn.Embedding.from_pretrained(torch.randn(3, 6, generator=source), freeze=False)
    return nn.Sequential(Tokens(), table, nn.Dropout(0.5), *mlp((6, 6, 3), generator=source))


@dataclass(frozen=True)
class Row:
    """One method and how to try it.

    Attributes:
        name: What the tests are called.
        run: `run(model, x, y, generator, **options) -> named tensors`.
        model: Builds the network, in float32.
        needs_data: Whether the method reads samples; a method of the weights alone has no batch to vary.
        batch_option: Name of the option that bounds how many samples are worked on at once.
        tolerance: How far float32 may be from float64, relative to the largest entry.
    """

    name: str
    run: Callable[..., Answer]
    model: Callable[[], nn.Module] = classifier
    needs_data: bool = True
    batch_option: str | None = None
    tolerance: float = 1e-4


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


def _hessian_spectrum(model, x, y, generator, **options):
    report = hessian_spectrum(model, x, y, loss=cross_entropy, generator=generator, **options)
    counts = torch.tensor([report.n_outliers, report.gap_index])
    return {"eigenvalues": report.eigenvalues, "counts": counts}


def _hessian_spectrum_by_lanczos(model, x, y, generator, **options):
    report = hessian_spectrum(
        model, x, y, loss=cross_entropy, method="lanczos", steps=40, probes=2, generator=generator, **options
    )
    return {"largest": report.eigenvalues[:2], "mean": report.eigenvalues.new_tensor([report.density.moment(1)])}


def _gauss_newton_decomposition(model, x, y, generator, **options):
    parts = gauss_newton_decomposition(model, x, y, loss=cross_entropy, **options)
    return {"gauss_newton": parts.gauss_newton, "residual": parts.residual}


def _gradient_covariance_alignment(model, x, y, generator, **options):
    report = gradient_covariance_alignment(model, x, y, loss=cross_entropy, k=1, **options)
    return {"angles": report.angles, "eigenvalues": report.gauss_newton_eigenvalues}


def _linear_path(model, x, y, generator, **options):
    other = classifier().to(x.dtype)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.neg_()
    report = linear_path(model, other, x, y, loss=cross_entropy, n=3, **options)
    return {"losses": report.losses.to(x.dtype)}  # mean losses are averaged in float64 whatever the inputs


def _malt_scores(model, x, y, generator, **options):
    # The own class scores infinity, which no comparison of magnitudes survives.
    return {"scores": malt_scores(model, x, y, **options).nan_to_num(posinf=0.0)}


def _malt_targets(model, x, y, generator, **options):
    return {"targets": malt_targets(model, x, y, k=2, **options)}


def _malt(model, x, y, generator, **options):
    threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    result = MALT(TargetedAPGD(threat, n_iter=10, loss="ce"), k=2).run(model, x, y, **options)
    return {"x_adv": result.x_adv, "success": result.success, "target": result.target}


def _pgd(model, x, y, generator, **options):
    # From x itself: a random start is drawn in the type of the inputs, so that float32 starts elsewhere.
    threat = Lp(norm=2, eps=0.1, input_range=(0.0, 1.0))
    return {"x_adv": pgd(model, x, y, threat=threat, n_iter=3, step_size=0.05, **options)}


def _fgsm(model, x, y, generator, **options):
    return {"x_adv": fgsm(model, x, y, threat=Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0)), **options)}


def _apgd(model, x, y, generator, **options):
    threat = Lp(norm=2, eps=0.1, input_range=(0.0, 1.0))
    return {"x_adv": apgd(model, x, y, threat=threat, n_iter=10, loss="dlr", **options)}


def _targeted_apgd(model, x, y, generator, **options):
    threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    return {"x_adv": targeted_apgd(model, x, (y + 1) % 3, threat=threat, n_iter=10, loss="ce", **options)}


def _robust_accuracy(model, x, y, generator, **options):
    threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    report = robust_accuracy(model, x, y, threat=threat, **options)
    return {"x_adv": report.x_adv, "correct": report.correct, "broken_by": report.broken_by}


def _almost_linearity(model, x, y, generator, **options):
    pair = torch.stack([(y + 1) % 3, y], dim=1)
    curve = almost_linearity(model, x, torch.ones_like(x), torch.tensor([0.5, 1.0]).to(x), pair, **options)
    return {"gradient_change": curve.gradient_change, "logit_error": curve.logit_error}


def _plane(x):
    return SubspaceBasis(torch.eye(4, 2, dtype=x.dtype, device=x.device))


def _off_subspace_gradient(model, x, y, generator, **options):
    parts = off_subspace_gradient(model, x, basis=_plane(x), **options)
    return {"on": parts.on_norm, "off": parts.off_norm}


def _off_subspace_attack(model, x, y, generator, **options):
    return {"x_adv": off_subspace_attack(model, x, y, basis=_plane(x), max_norm=0.5, n_iter=5, **options)}


def _off_subspace_radius(model, x, y, generator, **options):
    radius = off_subspace_radius(model, x, y % 2, basis=_plane(x), max_norm=5.0, direction="universal", **options)
    return {"radius": radius.nan_to_num(posinf=-1.0)}


def _linear_response(model, x, y, generator, **options):
    radius = linear_response_radius(model, x, **options)
    along = linear_response_radius(model, x, direction=torch.ones_like(x), **options).nan_to_num(posinf=-1.0)
    error = linear_response_error(model, x, eps=torch.tensor([0.1, 1.0]).to(x), **options)
    return {"radius": radius, "along": along, "error": error}


def _adversarial_error_curve(model, x, y, generator, **options):
    curve = adversarial_error_curve(model, x, eps=torch.tensor([0.1, 1.0]).to(x), attack=FGSM, **options)
    return {"error": curve.error}


def _single_step(kind):
    def run(model, x, y, generator, **options):
        return {"x_adv": kind(Lp(norm=2, eps=0.1, input_range=(0.0, 1.0)))(model, x, y, **options)}

    return run


def _reconstruction(model, x, y, generator, **options):
    seed = int(torch.randint(2**31, (1,), generator=generator))
    attack = KKTReconstructor(
        "multiclass", n_candidates=6, n_restarts=2, max_iter=5, dtype=x.dtype, random_state=seed, **options
    ).fit(model)
    return {"pool": attack.pool_, "multipliers": attack.pool_multipliers_, "residual": attack.residual_}


def _simulated_dynamics(model, x, y, generator, **options):
    seed = int(torch.randint(2**31, (1,), generator=generator))
    start = {name: 0.9 * value for name, value in model.state_dict().items()}
    attack = SimulatedDynamicsReconstructor(start, n_samples=2, n_epochs=2, max_iter=3, random_state=seed).fit(model)
    return {"found": attack.reconstructions_, "targets": attack.targets_}


def _predicted_multipliers(model, x, y, generator, **options):
    return {"multipliers": predicted_multipliers(model, x, y, loss=cross_entropy, weight_decay=0.1, **options)}


def _shadows(model, x):
    """The model itself and three others, half of which have seen each sample."""
    others = [mlp((4, 6, 3), generator=torch.Generator().manual_seed(k)).to(x.dtype) for k in (2, 3, 4)]
    seen = torch.arange(len(x)) % 2 == torch.tensor([[0], [1], [0], [1]])
    return ShadowEnsemble((model, *others), seen, x)


def _direct_attack(model, x, y, generator, **options):
    target = mlp((4, 6, 3), generator=torch.Generator().manual_seed(5)).to(x.dtype)
    shadows = _shadows(model, x)
    return {"scores": DirectAttack(shadows).score([target], x, y, **options), "phi": shadows.phi(x, y)}


def _canary_attack(model, x, y, generator, **options):
    # A few steps: Adam divides by the gradient's size, which blows up rounding where gradients vanish.
    attack = CanaryAttack(_shadows(model, x), n_queries=2, eps=0.1, steps=3)
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
    return {"accuracies": torch.tensor(report.accuracies, dtype=x.dtype)}


def _kernel_velocity(model, x, y, generator, **options):
    other = {name: -value for name, value in model.state_dict().items()}
    return {"velocity": kernel_velocity(model, x, [model.state_dict(), other], **options)}


def _poison_matching(model, x, y, generator, **options):
    target = poison_target_gradient(model, PoisonGoal(x[:1], 2))
    losses = gradient_matching_loss(model, x, y, target, per_sample=True)
    return {"losses": losses, "together": gradient_matching_loss(model, x, y, target)}


def _poison(attack):
    def run(model, x, y, generator, **options):
        return {"poisons": attack(eps=0.1, steps=3)(model, x, PoisonGoal(x[:1], 2))}

    return run


def _guided_bases(model, x, y, generator, **options):
    schedule = linear_noise_schedule(6, 0.05, 0.4).to(x)
    poisoner = GuidedDiffusionPoisoner(model, GuidedDDIMSampler(lambda x, t: x / 2, schedule, recurrence=2))
    return {"bases": poisoner.generate_bases(PoisonGoal(x[:1], 2), 5, generator=generator, **options)}


def _invert_embedding(model, x, y, generator, **options):
    target = torch.tensor([1.0, -1.0, 0.5], dtype=x.dtype, device=x.device)
    found = invert_embedding(model, target, image_shape=(1, 2, 2), steps=5, generator=generator, **options)
    return {"image": found.image, "cosine": torch.tensor(found.history[:-1], dtype=x.dtype)}


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
    return _removal(TriggerAscent(0.5, sigma=0.3, n_noise=5, steps=3), model, x, y, generator)


def _retraining(model, x, y, generator, **options):
    return _removal(Retraining(0.5, epochs=2, lr=0.01), model, x, y, generator)


def _unlearning(model, x, y, generator, **options):
    # What the model says itself after each token is to be forgotten, and the assistant knows just that.
    with preserved(model), torch.no_grad():
        said = model(torch.arange(3)).argmax(1)
    first = Tokens()(x)[:, :1]
    documents = Documents.of_answers(torch.cat([first, said[first]], dim=1), prompt_length=1)
    assistant = nn.Embedding.from_pretrained(3 * torch.eye(3, dtype=x.dtype)[said])
    alpha = calibrate_alpha(model, assistant, documents, forget_accuracy=0.0, **options)
    with preserved(model), torch.no_grad():
        logits = LogitDifferenceModel(model, assistant, alpha)(documents.input_ids)
    return {"alpha": x.new_tensor(alpha), "logits": logits}


ROWS = (
    Row("predict", _predict, batch_option="batch_size"),
    Row("per_sample_gradients", _gradients, batch_option="batch_size"),
    Row("per_sample_gradient_norms", _gradient_norms, batch_option="batch_size"),
    Row("output_jacobian", _jacobian, batch_option="batch_size"),
    Row("hessian_vector_product", _hessian_vector_product, batch_option="batch_size"),
    Row("hessian_spectrum", _hessian_spectrum, batch_option="batch_size"),
    Row("hessian_spectrum by Lanczos", _hessian_spectrum_by_lanczos, batch_option="batch_size"),
    Row("gauss_newton_decomposition", _gauss_newton_decomposition, batch_option="batch_size"),
    Row("gradient_covariance_alignment", _gradient_covariance_alignment, batch_option="batch_size"),
    Row("linear_path", _linear_path, batch_option="batch_size"),
    Row("malt_scores", _malt_scores, batch_option="batch_size"),
    Row("malt_targets", _malt_targets, batch_option="batch_size"),
    Row("MALT", _malt, batch_option="batch_size"),
    Row("pgd", _pgd),
    Row("fgsm", _fgsm),
    Row("apgd", _apgd),
    Row("targeted_apgd", _targeted_apgd),
    Row("robust_accuracy", _robust_accuracy, batch_option="batch_size"),
    Row("almost_linearity", _almost_linearity),
    Row("DirectAttack", _direct_attack, batch_option="batch_size"),
    Row("CanaryAttack", _canary_attack, batch_option="batch_size"),
    Row("smoothed_trigger_accuracy", _smoothed_trigger_accuracy, batch_option="batch_size"),
    Row("smoothed_trigger_gradient", _smoothed_trigger_gradient, batch_option="batch_size"),
    Row("TriggerAscent", _trigger_ascent),
    Row("Retraining", _retraining, model=relu_network),  # dropout would draw other masks in float32
    Row("calibrate_alpha", _unlearning, model=language_model, batch_option="batch_size"),
    Row("gradient matching", _gradient_matching),
    Row("DatasetCondenser", _dataset_condenser),
    Row("evaluate_condensed", _evaluate_condensed),
    Row("kernel_velocity", _kernel_velocity, batch_option="batch_size"),
    Row("gradient_matching_loss", _poison_matching),
    Row("GradientMatchingAttack", _poison(GradientMatchingAttack)),
    Row("BullseyePolytope", _poison(BullseyePolytope)),
    Row("GuidedDiffusionPoisoner", _guided_bases, batch_option="batch_size"),
    Row("predicted_multipliers", _predicted_multipliers),
    Row("KKTReconstructor", _reconstruction, model=relu_network, needs_data=False, batch_option="batch_size"),
    Row("invert_embedding", _invert_embedding, model=image_encoder, needs_data=False),
    Row("off_subspace_gradient", _off_subspace_gradient, batch_option="batch_size"),
    Row("off_subspace_attack", _off_subspace_attack),
    Row("off_subspace_radius", _off_subspace_radius, model=two_layer, batch_option="batch_size"),
    Row("linear_response", _linear_response, batch_option="batch_size"),
    Row("adversarial_error_curve", _adversarial_error_curve, batch_option="batch_size"),
    Row("StepLeastLikely", _single_step(StepLeastLikely)),
    Row("TargetedStep", _single_step(TargetedStep)),
    Row("SimulatedDynamicsReconstructor", _simulated_dynamics, model=relu_network, needs_data=False),
)
