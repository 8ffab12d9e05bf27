"""Gate of ``assay audit --fail-on``: whether an audit passes at a severity."""

from assay.audit.probe import SEVERITIES, Severity
from assay.audit.result import AuditResult

REACHED = 1
UNDECIDED = 3


def judge(result: AuditResult, level: Severity) -> tuple[int, str]:
    """Return a gate's exit code and its reason.

    A gate that lets a network pass must have seen it: where a probe failed, or more than half of the probes were
    skipped, a low severity tells nothing.

    Args:
        result: The result of an audit that was not interrupted.
        level: The lowest severity that fails.

    Returns:
        0 and no reason where all findings are below ``level``; 1 and the findings at or above it; 3 and what is not
        known where the gate cannot decide.
    """
    limit = SEVERITIES.index(level)
    reached = [
        f"{answer.probe} is {answer.finding.severity}"
        for answer in result.ranked
        if answer.finding is not None and SEVERITIES.index(answer.finding.severity) >= limit
    ]
    if reached:
        return REACHED, f"--fail-on {level}: {', '.join(reached)}"
    failed = [f"{answer.probe} failed ({answer.reason})" for answer in result.answers if answer.status == "failed"]
    skipped = [f"{answer.probe} ({answer.reason})" for answer in result.answers if answer.status == "skipped"]
    unknown = list(failed)
    if 2 * len(skipped) > len(result.answers):
        unknown.append(f"{len(skipped)} of {len(result.answers)} probes were skipped: {', '.join(skipped)}")
    if not unknown:
        return 0, ""
    return UNDECIDED, (
        f"--fail-on {level} cannot be decided: {'; '.join(unknown)}; "
        "mend or complete the subject, or name with --probe the probes that decide"
    )
