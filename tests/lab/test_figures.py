from pathlib import Path

import pytest
from matplotlib.figure import Figure

from assay.core import InvalidInputError
from assay.lab import inline_figure
from assay.lab.figures import LARGEST_SVG, encode_figure


def test_a_figure_has_the_same_bytes_each_time_and_its_words_in_the_page() -> None:
    def draw() -> Figure:
        figure = Figure()
        figure.subplots().plot([1, 3, 2], label="line")
        return figure

    assert encode_figure(draw()) == encode_figure(draw())
    assert b"prefers-color-scheme: dark" in encode_figure(draw()).content
    markup = str(inline_figure(draw(), 'a "line" & <more>'))
    assert markup.startswith('<img class="plate-image svg" src="data:image/svg+xml,<%3Fxml ')
    assert 'alt="a &#34;line&#34; &amp; &lt;more&gt;"' in markup


def test_a_large_figure_becomes_a_png() -> None:
    figure = Figure()
    figure.subplots().plot(range(20_000), [k % 7 for k in range(20_000)], "o", rasterized=False)
    encoded = encode_figure(figure)
    assert encoded.suffix == ".png"
    assert encoded.content.startswith(b"\x89PNG")
    assert LARGEST_SVG > 100_000


@pytest.mark.parametrize(
    ("file", "alt", "message"), [("a.svg", " ", "alt text"), ("a.gif", "a", r"give an \.svg or \.png")]
)
def test_bad_figures_are_refused(tmp_path: Path, file: str, alt: str, message: str) -> None:
    (tmp_path / file).write_text("<svg/>")
    with pytest.raises(InvalidInputError, match=message):
        inline_figure(tmp_path / file, alt)
