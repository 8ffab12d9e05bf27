"""The report in a real browser: headless Chromium at a phone's and a desktop's width."""

import re
import shutil

import pytest

pytestmark = pytest.mark.browser

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--no-sandbox",  # a container's root has no sandbox
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(params=[(390, 844), (1280, 900)], ids=["phone", "desktop"])
def opened(request, browser, digits_audit):
    """Open the report; the page keeps its errors and every request that it makes."""
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    page.errors, page.requests = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda asked: page.requests.append(asked.url))
    page.goto(digits_audit.report.resolve().as_uri())
    yield page
    page.close()


def test_no_script_error_and_no_request_leaves_the_page(opened, digits_audit):
    opened.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    opened.wait_for_load_state("networkidle")
    assert opened.errors == []
    report = digits_audit.report.resolve().as_uri()
    assert [url for url in opened.requests if url != report and not url.startswith("data:")] == []


def test_it_fits_the_width(opened):
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_every_image_is_drawn_and_described(opened):
    images = opened.evaluate("Array.from(document.images, i => [i.naturalWidth, i.alt.trim()])")
    assert len(images) > 4
    assert all(width > 0 and alt for width, alt in images)


def test_it_is_built_for_keyboard_and_screen_reader(opened, digits_audit):
    assert opened.evaluate("document.documentElement.lang") == "en"
    assert opened.locator("main").count() == 1
    assert opened.locator("h1").inner_text() == "Audit of digits"
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.getAttribute('href')") == "#main"
    targets = opened.evaluate("Array.from(document.querySelectorAll('nav a'), a => a.getAttribute('href'))")
    assert len(targets) == len(digits_audit.answers)
    assert all(opened.locator(target).count() == 1 for target in targets)


def test_the_first_pictures_stand_within_the_first_two_screens(opened):
    top = opened.evaluate("document.querySelector('.tile img').getBoundingClientRect().top")
    assert top < 2 * opened.viewport_size["height"]


def test_no_cell_and_no_caption_is_cut(opened):
    ends = opened.evaluate(
        "Array.from(document.querySelectorAll('td, caption, figcaption'), part => part.getBoundingClientRect().right)"
    )
    assert len(ends) > 20
    assert max(ends) <= opened.viewport_size["width"]


def test_the_text_of_charts_can_be_read(opened):
    """Charts have text of ten points, which is 13 pixels high where they are not scaled."""
    scales = opened.evaluate(
        "Array.from(document.querySelectorAll('.plate-image.svg'), "
        "i => i.getBoundingClientRect().width / i.naturalWidth)"
    )
    assert len(scales) >= 4
    assert all(0.75 <= scale <= 1 for scale in scales)


def test_prose_is_one_column_of_a_readable_width(opened):
    columns = opened.evaluate(
        "Array.from(document.querySelectorAll('.prose'), part => Array.from(part.children, "
        "child => { const box = child.getBoundingClientRect(); return [box.left, box.width] }))"
    )
    assert columns
    for column in columns:
        assert len({left for left, _ in column}) == 1
        assert all(250 <= width <= 750 for _, width in column)


@pytest.mark.parametrize("is_open", [False, True], ids=["details closed", "details open"])
def test_it_prints_on_few_pages_with_its_details(browser, digits_audit, tmp_path, is_open):
    page = browser.new_page()
    page.goto(digits_audit.report.resolve().as_uri())
    if is_open:
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    page.emulate_media(media="print")
    shown = page.evaluate("Array.from(document.querySelectorAll('details dl'), part => part.checkVisibility())")
    assert shown
    assert all(shown)
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", page.pdf(format="A4")))
    assert 1 < pages <= sum(answer.status == "answered" for answer in digits_audit.answers)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser, digits_audit, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(digits_audit.report.resolve().as_uri())
    colours = page.evaluate(
        "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
    )
    ink, paper = (luminance(colour[:3]) for colour in colours)
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7  # WCAG AAA
    assert (paper > ink) == (scheme == "light")
    page.close()


def luminance(colour):
    """WCAG's relative luminance of an sRGB colour."""
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
