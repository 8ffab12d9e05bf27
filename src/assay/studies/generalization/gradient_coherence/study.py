"""On the Generalization Mystery in Deep Learning (Chatterjee and Zielinski, 2022).

FILL_IN: what the paper claims in a paragraph, and what is measured here.
"""

from assay.lab import Claim, Lab, Paper, Study
from assay.studies.generalization.gradient_coherence.cells import compute
from assay.studies.generalization.gradient_coherence.figures import draw
from assay.studies.generalization.gradient_coherence.settings import Settings

STUDY = Study(
    slug="gradient-coherence",
    paper=Paper("On the Generalization Mystery in Deep Learning", "Chatterjee and Zielinski", 2022),
    methods=("generalization.coherence.measure_gradient_coherence",),
    claims={
        "C1": Claim("FILL_IN: the claim in our words", paper="FILL_IN: the paper's table or figure and its number")
    },
    scales={"smoke": Settings(seeds=1), "small": Settings(), "paper": Settings(seeds=10)},
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure each claim against a bar that was chosen before."""
    found = lab.grid(compute, settings, seed=settings.seeds)
    lab.measure("C1", found["figure"], at_least=0.0, what="FILL_IN: what is measured, on what, against what")
    lab.table("figures", found, columns=("figure",), caption="FILL_IN")
    lab.figure("figures", draw(found), caption="FILL_IN")
