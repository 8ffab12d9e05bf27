"""Command ``assay audit``: the options that can be refused at once, the audit, its output and its gate."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from assay.cli.output import Refusal, check_seed, complain, say

if TYPE_CHECKING:
    from assay.audit import AuditResult
    from assay.cli import Audit, FailOn


def audit(command: "Audit") -> int:
    """Audit a subject and return the exit code."""
    _refuse_bad_options(command)
    from assay.audit import load_subject
    from assay.audit import probes as registry
    from assay.audit.audit import ask_probes
    from assay.audit.folder import check_writable, reserved

    with ExitStack() as stack:
        # Refuse a folder before a built-in subject is trained; a numbered one waits for the subject's name.
        folder = None if command.out is None else stack.enter_context(reserved(command.out, ""))
        if folder is None:
            check_writable()
        subject = load_subject(
            command.subject,
            weights=command.weights,
            weights_key=command.weights_key,
            train=command.train,
            test=command.test,
            loss=command.loss,
            outputs=command.outputs,
            input_range=command.input_range,
            input_shape=command.input_shape,
            resize=command.resize,
            seed=command.seed,
            progress=True,
        )
        result = ask_probes(
            subject,
            registry.choose(command.probe),
            folder=folder or stack.enter_context(reserved(None, subject.name)),
            seed=command.seed,
            device=command.device,
            progress=True,
            minutes=command.minutes,
        )
        _deliver(result)
    if result.interrupted:
        raise KeyboardInterrupt
    return _judge(result, command.fail_on)


def _refuse_bad_options(command: "Audit") -> None:
    """Refuse what can be refused without importing torch, which takes seconds."""
    from assay.audit import probes as registry
    from assay.audit.specification import specification_problem

    check_seed(command.seed)
    for problem in (specification_problem(command.subject), *map(registry.name_problem, command.probe)):
        if problem is not None:
            raise Refusal(problem)


def _deliver(result: "AuditResult") -> None:
    """Print the findings and write the report; where one of them fails, the other is there."""
    from assay.audit.audit import write_audit
    from assay.audit.interrupts import held_signals

    with held_signals():
        try:
            say(result)
        except Refusal as refusal:
            write_audit(result)
            raise Refusal(f"{refusal}; the report is {result.report}") from refusal
        write_audit(result)
        say(result.report)


def _judge(result: "AuditResult", level: "FailOn") -> int:
    """Return the exit code of the gate at a severity, and say why it does not pass."""
    from assay.audit.gate import judge

    if level == "never":
        return 0
    code, reason = judge(result, level)
    if reason:
        complain(reason)
    return code
