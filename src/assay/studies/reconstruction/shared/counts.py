"""Evidence on recovered images: counts beside the nulls."""

from assay.lab import Grid, Lab

NULLS = {"held out": "held-out images matched by candidates", "random": "training images matched by random candidates"}


def measure_counts(
    lab: Lab,
    claim: str,
    name: str,
    found: Grid,
    n: int,
    *,
    shares: tuple[float | None, float | None] = (None, None),
    most: int = 2,
    beyond_rows: float | None = 0,
) -> None:
    """Bring what was recovered from one kind of network, and what its nulls reach.

    Args:
        lab: The run's lab.
        claim: What it is evidence for.
        name: The kind of network.
        found: What `assay.studies.reconstruction.shared.attack.recovered` returned, by seed.
        n: Training images.
        shares: Share of them that must be recovered with NCC > 0.75 and > 0.9; no evidence where None.
        most: Most images that a null may match.
        beyond_rows: How many more images must be recovered than rows of the first layer match; no evidence when None.
    """
    for entry, share in zip(("NCC > 0.75", "NCC > 0.9"), shares, strict=True):
        if share is not None:
            what = f"{name}: training images recovered with {entry}, of {n}"
            lab.measure(claim, found[entry], at_least=share * n, what=what)
    for null, what in NULLS.items():
        lab.measure(claim, found[null], at_most=most, what=f"{name}: null, {what} with NCC > 0.75, of {n}")
    if beyond_rows is not None:
        more, what = found["NCC > 0.75"] - found["rows"], "less those that rows of the first layer match"
        lab.measure(
            claim, more, at_least=beyond_rows, what=f"{name}: training images recovered with NCC > 0.75, {what}"
        )
