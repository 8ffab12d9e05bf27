"""Probes by name: run on a subject, or their finding in a whole audit."""

from assay.audit import AuditResult, Context, Finding, Subject
from assay.audit import probes as registry


def ask(name: str, subject: Subject, context: Context) -> Finding:
    """Run one probe."""
    return registry.load(name).run(subject, context)


def finding_of(audit: AuditResult, name: str) -> Finding:
    """Return the finding of one probe."""
    (finding,) = [answer.finding for answer in audit.answers if answer.probe == name]
    return finding
