"""Which training samples can be recovered from the weights alone?"""

from torch import Tensor

from assay.audit.pictures import is_image, sample_picture, stretch
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import InvalidInputError, binary_cross_entropy, cross_entropy
from assay.reconstruction import KKTReconstructor, ReconstructionScores, score_reconstructions

_CLEAR, _VISIBLE = 0.9, 0.75  # correlation with a training sample: hard to tell apart; recognisable
_MARGIN = 3
_LIMIT = 2000  # training samples that candidates are compared with
_SHOWN = 30

_RULE = (
    "A candidate matches a training sample when their correlation (NCC) exceeds a threshold. The nulls are random "
    "candidates from the same subspace, and as many held-out samples in the place of the training samples. High: at "
    f"threshold {_CLEAR}, at least {_MARGIN} training samples more than either null, and twice as many. Medium: the "
    f"same at {_VISIBLE}. Low: more than the nulls at {_VISIBLE}. Info: no more than the nulls."
)
_RULE_BLIND = (
    "Without training data no match can be counted. Medium when at least "
    f"{_MARGIN} reconstructions were found by at least half of the independent restarts, otherwise info."
)
_LIMITS = (
    "Every candidate comes from the weights alone; training data serve only to score them. A match well above the nulls "
    "shows that the sample's content is in the weights. A sample without a match is not proven safe: another attack, or "
    "more restarts, may find it. Brightness and contrast cannot be told from the weights and are shown as in the "
    "training sample. First-layer rows are the weights themselves, looked at as samples: a naive leak."
)
_LIMITS_BLIND = (
    "Agreement between restarts shows that the weights determine these patterns. It does not prove that they are "
    "training samples: give the training data to have them scored against samples that were never trained on."
)
_ADVICE: dict[Severity, str] = {
    "high": "Do not publish these weights if the training data are private. Train on more samples, stop earlier, lower "
    "the weight decay or train with differential privacy, and audit again.",
    "medium": "Treat the training data as partly exposed wherever the weights go. Consider fewer training steps, less "
    "weight decay or differential privacy, and audit again.",
    "low": "Look at the pairs: single samples may be exposed. Audit again with another --seed.",
    "info": "This attack found nothing; it is no proof of safety. Audit again when the training recipe changes.",
}


def run(subject: Subject, context: Context) -> Finding:
    """Attack the weights, then score what came out against the training data where they are at hand."""
    attack = KKTReconstructor(
        objective=_objective(subject),
        input_shape=subject.sample_shape,
        random_state=context.seed,
        progress=context.progress,
    )
    try:
        attack.fit(subject.model)
    except InvalidInputError as error:
        raise SkipProbe(str(error)) from error
    return _blind(subject, attack) if subject.train is None else _scored(subject, attack, context)


def _objective(subject: Subject) -> str:
    objectives = {binary_cross_entropy: "binary", cross_entropy: "multiclass"}
    if subject.loss not in objectives:
        raise SkipProbe("it reads classifiers trained with binary_cross_entropy or cross_entropy")
    return objectives[subject.loss]
