"""What the study computes: functions of its settings and of one level of each factor."""

from assay.studies.generalization.gradient_coherence.settings import Settings


def compute(settings: Settings, seed: int) -> dict[str, float]:
    """FILL_IN: compute the figures of one seed, by name."""
    raise NotImplementedError("FILL_IN")
