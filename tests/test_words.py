"""Rules of words: a module's first line names the thing, and a source can be looked up."""

import ast
import importlib
import re

import pytest

import assay
from assay import studies
from assay.rooms import ALL_ROOMS
from helpers.source_code import FILES, PACKAGE, docstrings, module_name, parse, short

PLACES = "section equation algorithm table figure theorem appendix proposition lemma definition corollary chapter page"
# A number that nobody could look up is never invented: then the source says honestly how far it was read.
UNNUMBERED = "main text|abstract"
PLACE = re.compile(rf"\b(({'|'.join(PLACES.split())})s?|{UNNUMBERED})\b|§|\beqs?\.", re.IGNORECASE)
SOURCE = re.compile(r"^ *Source:.*(?:\n *(?!>>>)\S.*)*", re.MULTILINE)
PAPERS = re.compile(r"\bPapers?: ([a-z0-9, \n-]+)\.")

# A probe's first line is its question, a study's the paper's title: both are shown to users as they are.
TITLED = [path for path in FILES if path.match("audit/probes/*.py") or path.match("studies/*/*/*.py")]
TOPICS = [(room.name, topic) for room in ALL_ROOMS for topic in room.topics]


def slugs_in(package):
    """Return the slugs that a package's docstring lists."""
    lists = PAPERS.findall(importlib.import_module(package).__doc__ or "")
    return {slug for text in lists for slug in re.split(r",\s*", text.strip())}


@pytest.mark.parametrize("path", [path for path in FILES if path not in TITLED], ids=short)
def test_a_modules_first_line_names_the_thing(path):
    first = (ast.get_docstring(parse(path)) or "").split("\n")[0]
    assert first.endswith("."), "the first line of a module's docstring is one phrase with its period"
    assert first.split()[0] not in ("What", "How", "Which", "Where", "Whether")


@pytest.mark.parametrize("path", [path for path in FILES if "Source:" in path.read_text(encoding="utf-8")], ids=short)
def test_a_source_names_the_place_in_the_paper(path):
    blocks = [(line, block) for line, text in docstrings(path) for block in SOURCE.findall(text)]
    assert [entry for entry in blocks if not PLACE.search(entry[1])] == []


@pytest.mark.parametrize(
    ("block", "found"),
    [
        ("Source: A. Author, Title, 2020, section 3.2.", True),
        ("Source: A. Author, Title,\n    2020, equations (4) and (5).", True),
        ("Source: A. Author, Title, 2020, main text: the bound.", True),
        ("Source: A. Author, Title, 2020, abstract.", True),
        ("Source: A. Author, An Abstraction, 2020.", False),
        ("Source: A. Author, Title, 2020.\n\n    See section 3 of the guide.", False),
        ("Source: A. Author, Title, 2020.\n\n>>> table", False),
    ],
)
def test_a_place_is_found_in_the_source_block_only(block, found):
    (text,) = SOURCE.findall(f"Compute.\n\n{block}\n")
    assert bool(PLACE.search(text)) == found


@pytest.mark.parametrize(("room", "topic"), TOPICS)
def test_a_topic_lists_its_papers(room, topic):
    slugs = slugs_in(f"assay.{room}.{topic}")
    without = "No study of its own" in (importlib.import_module(f"assay.{room}.{topic}").__doc__ or "")
    assert bool(slugs) != without, "say 'Papers: first-slug, second-slug.', or 'No study of its own' and what it is for"
    assert slugs <= set(studies.slugs())


@pytest.mark.parametrize("room", assay.ROOMS)
def test_a_room_lists_its_topics_and_papers(room):
    text = importlib.import_module(f"assay.{room}").__doc__ or ""
    of_room = {slug for slug, home in studies.rooms().items() if home == room}
    topics = {topic for home, topic in TOPICS if home == room}
    assert {word for word in of_room | topics if not re.search(rf"(?<![\w-]){word}(?![\w-])", text)} == set()
    assert slugs_in(f"assay.{room}") <= set(studies.slugs())


def test_the_package_has_files_of_every_room():
    assert {module_name(path).split(".")[1] for path in FILES if path.parent != PACKAGE} >= set(assay.ROOMS)
