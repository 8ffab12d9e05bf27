import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from assay.lab import Lab, record, run_study, write_gallery
from helpers.lab_demo import Settings, make_study

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def experiment(settings: Settings, lab: Lab) -> None:
        lab.measure("C1", [0.9, 0.95, 0.99], what="a recall with a rather long description " * 3, at_least=0.5)
        figure = Figure(figsize=(14, 5))
        figure.subplots().plot([1, 2])
        lab.figure("wide", figure)
        lab.table("wide", [{f"column-{index}": 0.123456 for index in range(20)}])

    folder = tmp_path_factory.mktemp("gallery")
    record(run_study(make_study(experiment), out=folder / "runs"), folder / "records")
    return write_gallery(folder / "records", folder / "gallery.html")


@pytest.fixture(scope="module")
def browser() -> Any:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = os.environ.get("CHROMIUM", shutil.which("chromium"))
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as session:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
        opened = session.chromium.launch(executable_path=chromium, args=arguments)
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_gallery_opens_quietly_at_any_width(gallery: Path, browser: Any, width: int, scheme: str) -> None:
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto(gallery.as_uri())
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(252, 251, 248)", "dark": "rgb(20, 22, 26)"}[scheme]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.close()
