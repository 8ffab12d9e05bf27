"""Result of an audit: the answers of its probes, and ``findings.json``."""

import importlib.resources
import json
import platform
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

import assay
from assay.audit.probe import SEVERITIES, Finding, Picture, Severity, Topic
from assay.audit.quality import Quality
from assay.audit.subject import Subject
from assay.lab import printable

# Of the answers, in the order of the report.
_GRADES = (*reversed(SEVERITIES), "failed", "interrupted", "skipped")


@dataclass(frozen=True)
class Answer:
    """Answer of one probe: a finding, or the reason why there is none.

    Args:
        probe: The probe's name.
        question: The probe's question.
        topic: The heading of the question in the report.
        status: ``"answered"`` where there is a finding.
        seconds: Wall-clock time.
        finding: The finding, where there is one.
        reason: Why there is none, in one sentence.
    """

    probe: str
    question: str
    topic: Topic
    status: Literal["answered", "skipped", "failed", "interrupted"]
    seconds: float
    finding: Finding | None = None
    reason: str = ""

    @property
    def grade(self) -> str:
        """The finding's severity, or the status where there is none."""
        return self.status if self.finding is None else self.finding.severity

    def __str__(self) -> str:
        text = self.reason if self.finding is None else self.finding.headline
        return printable(f"{self.grade:<11} {self.probe}: {text}")


@dataclass(frozen=True)
class AuditResult:
    """Result of an audit.

    Args:
        subject: The subject.
        answers: One for each probe, in the order in which they were asked.
        seed: The audit's seed.
        folder: Folder of ``report.html``, ``findings.json`` and ``figures/``.
        quality: Fit of the model to its data, and warnings where they may not belong together.
        not_asked: Names and questions of the probes that run only where they are named, and were not.
    """

    subject: Subject
    answers: tuple[Answer, ...]
    seed: int
    folder: Path
    quality: Quality
    not_asked: tuple[tuple[str, str], ...] = ()

    @property
    def report(self) -> Path:
        """Path of the HTML report."""
        return self.folder / "report.html"

    @property
    def interrupted(self) -> bool:
        """Whether the audit was interrupted before its last probe ended."""
        return any(answer.status == "interrupted" for answer in self.answers)

    @property
    def failed(self) -> bool:
        """Whether some probe failed."""
        return any(answer.status == "failed" for answer in self.answers)

    @property
    def worst(self) -> Severity | None:
        """The highest severity among the findings; None when no probe answered."""
        found = {answer.finding.severity for answer in self.answers if answer.finding is not None}
        return next((severity for severity in reversed(SEVERITIES) if severity in found), None)

    def reaches(self, severity: Severity) -> bool:
        """Return whether some finding is at or above ``severity``."""
        return self.worst is not None and SEVERITIES.index(self.worst) >= SEVERITIES.index(severity)

    @property
    def ranked(self) -> tuple[Answer, ...]:
        """The answers, most severe first, then the probes that failed, were interrupted or were skipped."""
        return tuple(sorted(self.answers, key=lambda answer: _GRADES.index(answer.grade)))

    @property
    def verdict(self) -> str:
        """The worst severity in a few words, and how many probes it does not speak for."""
        counts = Counter(answer.status for answer in self.answers)
        answered = counts.pop("answered", 0)
        worst = "no finding" if self.worst is None else f"worst finding {self.worst}"
        if not counts:
            return worst
        missing = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
        return f"{worst}; {answered} of {len(self.answers)} probes answered ({missing})"

    def __str__(self) -> str:
        title = printable(f"{self.subject.name}: {self.verdict}")
        return "\n".join([title, *opening(self.subject, self.quality), *(f"  {answer}" for answer in self.ranked)])


def opening(subject: Subject, quality: Quality) -> list[str]:
    """Return the lines above the findings: how the subject was understood, and how well model and data fit."""
    lines = [("note", note) for note in subject.notes]
    lines += [("fit", str(quality))] if quality.training or quality.held_out else []
    lines += [("warning", warning) for warning in quality.warnings]
    return [printable(f"  {what:<11} {text}") for what, text in lines]


def schema() -> dict[str, Any]:
    """Return the JSON schema of ``findings.json``."""
    return json.loads(importlib.resources.files("assay.audit").joinpath("findings.schema.json").read_text())


def describe(result: AuditResult) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the content of ``findings.json``, and its pictures by path."""
    pictures = {
        _path(answer, picture): picture.data
        for answer in result.answers
        if answer.finding is not None
        for figure in answer.finding.figures
        for picture in figure.pictures
    }
    facts = {
        "schema": 1,
        "assay": assay.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(sum(answer.seconds for answer in result.answers), 2),
        "seed": result.seed,
        "interrupted": result.interrupted,
        "worst": result.worst,
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "system": f"{platform.system()} {platform.machine()}",
            "device": str(next(result.subject.model.parameters()).device),
            "threads": torch.get_num_threads(),
        },
        "subject": _describe_subject(result.subject),
        "quality": asdict(result.quality),
        "findings": [_describe_answer(answer) for answer in result.ranked],
        "not_asked": [{"probe": probe, "question": question} for probe, question in result.not_asked],
    }
    return facts, pictures


def _describe_subject(subject: Subject) -> dict[str, Any]:
    leaves = [module for module in subject.model.modules() if not list(module.children())]
    return {
        "name": subject.name,
        "notes": list(subject.notes),
        "model": [str(leaf) for leaf in leaves],
        "parameters": subject.n_parameters,
        "loss": getattr(subject.loss, "__name__", type(subject.loss).__name__),
        "input_range": list(subject.input_range),
        "class_names": list(subject.class_names),
        "training_samples": None if subject.train is None else len(subject.train[0]),
        "test_samples": None if subject.test is None else len(subject.test[0]),
    }


def _describe_answer(answer: Answer) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "probe": answer.probe,
        "question": answer.question,
        "topic": answer.topic,
        "status": answer.status,
        "seconds": round(answer.seconds, 2),
    }
    if answer.finding is None:
        return facts | {"reason": answer.reason}
    finding = asdict(replace(answer.finding, figures=()))
    finding["figures"] = [
        {
            "caption": figure.caption,
            "tile": figure.tile,
            "pictures": [{"file": _path(answer, picture), "alt": picture.alt} for picture in figure.pictures],
        }
        for figure in answer.finding.figures
    ]
    return facts | finding


def _path(answer: Answer, picture: Picture) -> str:
    return f"figures/{answer.probe}-{picture.name}.{picture.format}"
