"""Figures and table of the robustness probe."""

from matplotlib.axes import Axes
from torch import Tensor

from assay.adversarial import RobustnessReport
from assay.audit.perturbations import Perturbed
from assay.audit.pictures import plot_picture, sample_picture
from assay.audit.probe import Figure, Table
from assay.audit.subject import Subject
from assay.core import predict

_EXAMPLES = 4


def attack_table(at: Perturbed, report: RobustnessReport, radius: int) -> Table:
    """Tell what each attack within a radius was tried on and broke."""
    rows = [
        (tally.name, tally.tried, tally.broken, tally.tried - tally.broken, tally.n_forward + tally.n_backward)
        for tally in report.tallies
    ]
    columns = ("attack", "samples attacked", "misclassified", "still correct", "forward and backward passes")
    return Table(
        f"Attacks within {at.phrase(radius)}; each is run on the samples that the ones before it left correct",
        columns,
        tuple(rows),
    )


def curve_figure(at: Perturbed, curve: dict[int, float], stated: int, which: str) -> Figure:
    """Draw robust accuracy against the radius, and mark the stated one."""

    def draw(axes: Axes) -> None:
        axes.plot(list(curve), list(curve.values()), marker="o")
        axes.axvline(stated, color="C5", linestyle=":")
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(f"radius of the change, in {at.axis}")
        axes.set_ylabel("share still classified correctly")

    last = max(curve)
    alt = f"Accuracy under attack: {curve[0]:.0%} without attack, {curve[last]:.0%} at {at.name(last)}"
    caption = f"Accuracy on {which} samples by radius; the dotted line marks the radius that decides the severity."
    return Figure((plot_picture("accuracy", draw, alt),), caption)


def example_figures(
    subject: Subject, at: Perturbed, x: Tensor, y: Tensor, smallest: Tensor, changed: Tensor, *, never: int
) -> tuple[Figure, ...]:
    """Show the samples misclassified at the smallest radius beside their perturbed copies, where they are images."""
    if not at.image:
        return ()
    lowest, highest = subject.input_range
    worst = [i for i in smallest.argsort(stable=True).tolist() if 0 < smallest[i] < never][:_EXAMPLES]
    figures = []
    for number, index in enumerate(worst, 1):
        pair = [(sample - lowest) / (highest - lowest) for sample in (x[index], changed[index])]
        before = subject.class_name(int(y[index]))
        after = subject.class_name(int(predict(at.model, changed[index : index + 1]).argmax(1)))
        figures.append(
            Figure(
                (
                    sample_picture(f"{number:02}-original", pair[0], f"A sample that is classified as {before}"),
                    sample_picture(f"{number:02}-changed", pair[1], f"The same sample, changed: classified as {after}"),
                ),
                f"{before} → {after}, every entry changed by at most {at.name(int(smallest[index]))}",
                tile=True,
            )
        )
    return tuple(figures)
