"""Settings of the study: what its scales vary."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Size the experiment.

    Args:
        seeds: How many independent repetitions.
    """

    seeds: int = 5  # FILL_IN: add what the scales vary
