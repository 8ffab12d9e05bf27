"""Audits of trained networks: subjects, probes, findings and reports."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.audit.audit import run_audit
    from assay.audit.loading import load_subject
    from assay.audit.probe import Context, Figure, Finding, Picture, Probe, SkipProbe, Table
    from assay.audit.report import rerender
    from assay.audit.result import Answer, AuditResult
    from assay.audit.subject import Subject

_HOMES = {
    "Answer": "result",
    "AuditResult": "result",
    "Context": "probe",
    "Figure": "probe",
    "Finding": "probe",
    "Picture": "probe",
    "Probe": "probe",
    "SkipProbe": "probe",
    "Subject": "subject",
    "Table": "probe",
    "load_subject": "loading",
    "rerender": "report",
    "run_audit": "audit",
}

__all__ = [
    "Answer",
    "AuditResult",
    "Context",
    "Figure",
    "Finding",
    "Picture",
    "Probe",
    "SkipProbe",
    "Subject",
    "Table",
    "load_subject",
    "rerender",
    "run_audit",
]


def __getattr__(name: str) -> object:
    """Load a public name on first use: listing the probes must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'assay.audit' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"assay.audit.{_HOMES[name]}"), name)
