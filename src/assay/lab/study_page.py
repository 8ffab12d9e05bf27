"""Page of one run of a study: each claim with its verdict, what was measured, and the figures."""

from pathlib import Path

from assay.core import write_bytes
from assay.lab.gallery import TONES, present
from assay.lab.page import render
from assay.lab.records import contents
from assay.lab.runner import Run

_SCALES = {
    "smoke": "This is a smoke run: it shows that the experiment runs on this machine, and is too small to decide a "
    "claim. Run it at scale small for that.",
    "small": "This run has the scale small: a version of the paper's experiment for two processor cores and minutes. "
    "It says of each claim whether this scale can test it.",
    "paper": "This run has the paper's own scale.",
}


def write_study_page(run: Run, out: str | Path | None = None) -> Path:
    """Write the page of a finished run: one self-contained HTML file.

    Args:
        run: The run, of any scale.
        out: The file to write; by default ``report.html`` in the run's folder.

    Returns:
        Its path.

    Raises:
        InvalidInputError: A figure of the run cannot be read.
    """
    entry = contents(run, [dict(figure) for figure in run.figures])
    page = render(
        "study.html",
        title=run.study.paper.title,
        lede=_SCALES[run.log["scale"]],
        paper=present(entry, run.folder / "figures", None),
        tones=TONES,
    )
    path = run.folder / "report.html" if out is None else Path(out)
    write_bytes(path, page.encode())
    return path
