import dataclasses

import pytest
from jaxtyping import config

from assay.core import AssayError, InvalidInputError
from assay.lab import Claim, Paper, Study
from assay.lab.study import require_experiment
from helpers.lab_demo import Settings, make_study

PAPER = Paper("On demos", "A. Uthor", 2024)


def test_a_paper_reads_as_a_citation() -> None:
    assert str(PAPER) == "On demos (A. Uthor, 2024)"


def test_the_experiment_is_registered_once() -> None:
    study = make_study()
    with pytest.raises(AssayError, match="no experiment"):
        require_experiment(study)

    @study.experiment
    def run(settings: object, lab: object) -> None: ...

    assert require_experiment(study) is run
    with pytest.raises(InvalidInputError, match="one only"):
        study.experiment(run)


def test_a_claim_states_the_papers_number_or_is_ours() -> None:
    claim = Claim("It holds", paper="Table 2: 62.1 %")
    assert (str(claim), claim.paper, claim.ours) == ("It holds", "Table 2: 62.1 %", False)
    assert Claim("It holds", ours=True).paper is None
    for options in ({}, {"paper": ""}, {"paper": " "}, {"paper": "Table 2", "ours": True}):
        with pytest.raises(InvalidInputError, match="states no number"):
            Claim("It holds", **options)
    with pytest.raises(InvalidInputError, match="no text"):
        Claim(" ", ours=True)


def test_a_claim_as_plain_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # which would refuse it first
    with pytest.raises(InvalidInputError, match="C1 as plain text"):
        Study("demo", PAPER, {"C1": "so"}, {"smoke": Settings()})


def test_a_study_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_study().slug = "other"


def test_an_unknown_scale_names_those_that_exist() -> None:
    with pytest.raises(InvalidInputError, match="smoke, small"):
        make_study().settings("paper")


@dataclasses.dataclass
class Thawed:
    seeds: int = 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slug": "a/b"}, "letters, digits"),
        ({"slug": ""}, "letters, digits"),
        ({"claims": {}}, "claims nothing"),
        ({"methods": ("assay.adversarial.MALT",)}, "below assay"),
        ({"methods": ("MALT",)}, "below assay"),
        ({"methods": ("adversarial.MALT", "adversarial MALT")}, r"\['adversarial MALT'\]"),
        ({"scales": {}}, "one or more of smoke, small, paper"),
        ({"scales": {"huge": Settings()}}, "one or more of smoke, small, paper"),
        ({"scales": {"smoke": Thawed()}}, "frozen=True"),
        ({"scales": {"smoke": Settings}}, "frozen=True"),
        ({"scales": {"smoke": {"seeds": 1}}}, "frozen=True"),
    ],
)
def test_bad_declarations_are_refused(arguments: dict, message: str) -> None:
    good = {"slug": "demo", "paper": PAPER, "claims": {"C1": Claim("so", ours=True)}, "scales": {"smoke": Settings()}}
    with pytest.raises(InvalidInputError, match=message):
        Study(**{**good, **arguments})
