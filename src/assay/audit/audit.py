"""Audit of a subject: all probes in turn, and a folder with the report."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import torch

from assay.audit import probes as registry
from assay.audit.folder import reserved, whole_folder
from assay.audit.interrupts import held_signals
from assay.audit.probe import Context, Probe, SkipProbe
from assay.audit.quality import measure_quality
from assay.audit.report import render_report
from assay.audit.result import Answer, AuditResult, describe, opening
from assay.audit.subject import Need, Subject
from assay.core import InvalidInputError, check_positive

_MISSING: dict[Need, str] = {
    "input_gradients": "it differentiates in the inputs, and this subject's are integers, as a network of tokens reads",
    "training_data": "it needs the training data, which this subject does not have",
    "test_data": "it needs held-out data, which this subject does not have",
    "initial_weights": "it needs the weights before training, which this subject does not have",
}


def run_audit(
    subject: Subject,
    *,
    probes: Sequence[str] | None = None,
    out: Path | str | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
    minutes: float = 9.0,
) -> AuditResult:
    """Run the probes on a subject and write the report.

    First it is seen whether model and data belong together, see `assay.audit.quality`. A probe that does not apply to
    the subject is skipped with the reason; a probe that raises is reported as failed and the others go on; on an
    interrupt (Ctrl-C) the answers so far are written. The folder is reserved before the first probe starts and written
    atomically; where it cannot be written at the end, the findings are a note of the error.

    Args:
        subject: The subject; its model is left unchanged.
        probes: Names of the probes to run; by default all but those that are opt-in.
        out: Folder to write, which must not exist or be empty; by default ``assay-audit/<subject>-<n>``.
        seed: Seed of the probes' random draws.
        device: Device to compute on; by default the model's.
        progress: Show progress on stderr.
        minutes: Time for all probes, of which each has an equal share of what the ones before it left. One that would
            take longer does less, which its finding says, or is skipped.

    Returns:
        The answers of the probes, and the folder of the report.

    Raises:
        InvalidInputError: Unknown probe, a folder that cannot be written to, or no probe that applies to the subject.

    >>> from assay.audit import load_subject, run_audit
    >>> run_audit(load_subject("digits"), probes=["curvature"]).report.as_posix()
    'assay-audit/digits-1/report.html'
    """
    chosen = registry.choose(probes or ())
    options = {"seed": seed, "device": device, "progress": progress, "minutes": minutes}
    with reserved(out, subject.name) as folder:
        result = ask_probes(subject, chosen, folder=folder, **options)
        with held_signals():
            try:
                write_audit(result)
            except InvalidInputError as error:
                error.add_note(str(result))  # the findings are not lost with the folder
                raise
    return result


def ask_probes(
    subject: Subject,
    chosen: Sequence[Probe],
    *,
    folder: Path,
    seed: int,
    device: str | torch.device | None,
    progress: bool,
    minutes: float,
) -> AuditResult:
    """Run probes on a subject, and write nothing yet (see `run_audit`).

    With ``progress``, each answer is printed on stderr as soon as it is known.

    Raises:
        InvalidInputError: The device is unknown, the time is not positive, or no probe applies to the subject.
    """
    check_positive(minutes, "minutes")
    if device is not None:
        subject = subject.to(device)
    context = Context(seed=seed, progress=progress, seconds=60 * minutes)
    with torch.inference_mode(False):  # or what the probes build could not be differentiated
        quality = measure_quality(subject)
        _tell(opening(subject, quality), context)
        answers = _ask_all(chosen, subject, context)
    if all(answer.status == "skipped" for answer in answers):
        reasons = " | ".join(f"{answer.probe}: {answer.reason}" for answer in answers)
        raise InvalidInputError(f"no probe applies to subject {subject.name!r}: {reasons}")
    asked = {probe.name for probe in chosen}
    not_asked = tuple(probe for probe in map(registry.load, registry.names()) if probe.opt_in)
    not_asked = tuple((probe.name, probe.question) for probe in not_asked if probe.name not in asked)
    return AuditResult(subject, answers, seed=seed, folder=folder, quality=quality, not_asked=not_asked)


def write_audit(result: AuditResult) -> None:
    """Write ``findings.json``, the pictures and the report.

    Raises:
        InvalidInputError: The folder cannot be written.
    """
    facts, pictures = describe(result)
    with whole_folder(result.folder) as folder:
        (folder / "figures").mkdir()
        for name, content in pictures.items():
            (folder / name).write_bytes(content)
        findings = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / "findings.json").write_text(findings + "\n", encoding="utf-8")
        (folder / "report.html").write_text(render_report(facts, folder), encoding="utf-8")


def _ask_all(chosen: Sequence[Probe], subject: Subject, context: Context) -> tuple[Answer, ...]:
    """Return one answer for each probe, also for those that an interrupt stopped or kept from starting.

    Args:
        chosen: The probes.
        subject: The subject.
        context: With the time for all of them.
    """
    answers: list[Answer] = []
    end = time.perf_counter() + context.seconds
    try:
        for number, probe in enumerate(chosen, 1):
            share = max(end - time.perf_counter(), 0.0) / (len(chosen) - len(answers))
            # a line of its own: the probes draw their own bars
            _tell([f"[{number}/{len(chosen)}] {probe.question} (up to {share:.0f} s)"], context)
            answers.append(_ask(probe, subject, replace(context, seconds=share)))
            _tell([f"  {answers[-1]}"], context)
    except KeyboardInterrupt:
        for when, probe in zip(chain(("during",), repeat("before")), chosen[len(answers) :], strict=False):
            reason = f"the audit was interrupted {when} this probe"
            answers.append(Answer(probe.name, probe.question, probe.topic, "interrupted", 0.0, reason=reason))
    return tuple(answers)


def _tell(lines: Iterable[str], context: Context) -> None:
    if context.progress:
        for line in lines:
            print(line, file=sys.stderr, flush=True)


def _ask(probe: Probe, subject: Subject, context: Context) -> Answer:
    answer = partial(Answer, probe.name, probe.question, probe.topic)
    for need in sorted(probe.needs):
        if not subject.has(need):
            return answer("skipped", 0.0, reason=_MISSING[need])
    start = time.perf_counter()
    try:
        finding = probe.run(subject, context)
    except SkipProbe as skipped:
        return answer("skipped", time.perf_counter() - start, reason=str(skipped))
    except (Exception, SystemExit) as error:  # one probe's failure must not cost the others' answers
        reason = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
        return answer("failed", time.perf_counter() - start, reason=reason)
    return answer("answered", time.perf_counter() - start, finding=finding)
