"""Terms that reports use, each with one sentence for readers from outside the field."""

import re

TERMS: dict[str, tuple[str, str]] = {
    "NCC": (r"NCC", "normalised cross-correlation: 1 for images equal up to brightness and contrast, 0 for unrelated."),
    "SSIM": (r"SSIM", "structural similarity, which also compares fine detail: 1 for equal images, 0 for unrelated."),
    "n90, n75": (r"n90|n75", "number of samples whose best candidate reaches an NCC above 0.9, or above 0.75."),
    "candidate": (r"[Cc]andidates?", "a guess at a training sample, computed from the weights."),
    "seed": (r"[Ss]eeds?", "the number that fixes all random draws of a script, so also the weights before training."),
    "start": (r"(?:the|known|given) start", "the network's weights before training."),
    "displacement": (r"[Dd]isplacement", "the difference between the weights after and before training."),
    "z-score": (r"z-scores?", "distance from what chance gives on average, in standard deviations of chance."),
    "null": (r"[Nn]ulls?", "what the same method finds where nothing can be found: the count that chance gives."),
    "restart": (r"[Rr]estarts?", "one independent search from a random start."),
    "false positive rate (FPR)": (
        r"FPR|[Ff]alse positive rates?",
        "share of samples outside the training data that are wrongly taken for members of it.",
    ),
    "true positive rate (TPR)": (
        r"TPR|[Tt]rue positive rates?",
        "share of the training samples that are identified. At 1% FPR, chance identifies 1% of them.",
    ),
    "ROC": (r"ROC", "curve of the true positive rate against the false positive rate, over all thresholds."),
    "AUC": (r"AUC|area under the ROC", "area under the ROC: 0.5 for chance, 1 for perfect separation."),
    "balanced accuracy": (
        r"[Bb]alanced accuracy",
        "mean share judged correctly among members and among non-members: 0.5 for chance.",
    ),
    "shadow model": (
        r"[Ss]hadow models?|[Ss]hadows",
        "a network like the audited one, trained for comparison on samples that are known.",
    ),
    "LiRA": (r"LiRA", "likelihood-ratio attack, which compares the model's score of a sample with shadow models'."),
    "m-coherence": (
        r"m-coherence",
        "number of samples that a step along one sample's gradient helps, itself included.",
    ),
    "effective rank": (r"[Ee]ffective rank", "number of uncorrelated units that would vary as much as these do."),
    "CKA": (r"CKA", "centred kernel alignment: 1 for layers that are alike up to a rotation, 0 for unrelated ones."),
    "Hessian": (r"Hessian", "matrix of the loss's second derivatives in the weights; it describes the curvature."),
    "eigenvalue": (r"[Ee]igenvalues?", "of the Hessian: the curvature along one direction of the weights."),
    "Lanczos": (r"Lanczos", "a method that estimates eigenvalues without writing the matrix down."),
    "logit": (r"[Ll]ogits?(?! gap)", "the network's raw score of a class, before it is turned into a probability."),
    "logit gap": (r"[Ll]ogit gaps?", "the difference between the two highest logits: small where a decision is close."),
    "first order": (r"[Ff]irst[ -]order", "as if the network were linear around each sample."),
    "1/255": (r"\d/255", "the unit of perturbations: one step of an eight-bit image, 1/255 of the input range."),
    "FGSM": (r"FGSM", "fast gradient sign method: one step that raises the loss, of one size in every input entry."),
    "APGD": (r"APGD(?:-\w+)?", "automatic projected gradient descent: many small steps that raise the loss."),
    "MALT": (r"MALT", "an attack that aims at the classes which a linear view of the network says are nearest."),
    "masked gradient": (
        r"[Mm]asked gradients?|gradients? (?:is|are) masked",
        "a gradient that is zero or unusable, so that attacks that follow it fail.",
    ),
    "subspace": (r"[Ss]ubspace", "the directions in which the training data vary."),
    "interval": (r"\d% intervals?", "the range that holds the true value with that confidence."),
}
"""Each term with the pattern that finds it and its explanation."""


def explain(text: str) -> list[tuple[str, str]]:
    """Return the terms that stand in a text, by their first places, each with its explanation.

    >>> [term for term, _ in explain("The NCC of nulls; nullable")]
    ['NCC', 'null']
    """
    found = [
        (match.start(), term, meaning)
        for term, (pattern, meaning) in TERMS.items()
        if (match := re.search(rf"(?<![\w-])(?:{pattern})(?!\w)", text))
    ]
    return [(term, meaning) for _, term, meaning in sorted(found)]
