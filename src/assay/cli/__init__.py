"""The command line: ``assay audit``, ``assay study``, ``assay list`` and ``assay report``.

Imports are delayed until a command needs them: ``assay --help`` and ``assay list`` do not import torch.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from assay.cli.auditing import audit
from assay.cli.output import Refusal, check_seed, columns, complain, drain, forgiving_stderr, say, sentence
from assay.cli.stopping import stoppable

FailOn = Literal["never", "low", "medium", "high"]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
Loss = Literal["binary_cross_entropy", "cross_entropy", "squared_error"]


@dataclass(frozen=True, kw_only=True)
class _Command:
    debug: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Audit(_Command):
    """Audit a trained network: recovered training samples, membership, robustness and more, in one HTML report.

    Example: assay audit fashion
    """

    subject: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SUBJECT")]
    """A built-in subject (see `assay list`), a Python file with a function subject() (the file is executed),
    package.module:factory with --weights, or the folder of a Hugging Face classifier."""
    weights: OptionalPath = None
    """Trained weights for the factory's model: .safetensors, or a .pt that loads without running code."""
    weights_key: OptionalText = None
    """Which set of weights to read from a checkpoint that holds several, such as state_dict_ema."""
    train: OptionalPath = None
    """Training data: .npz with x and y, or a folder with one sub-folder of images for each class."""
    test: OptionalPath = None
    """Held-out data, in the same formats; by default the test part of --train, if it has one."""
    loss: Annotated[Loss | None, tyro.conf.arg(metavar="LOSS", help_behavior_hint="")] = None
    """Training loss: binary_cross_entropy, cross_entropy or squared_error; by default chosen by the number of
    outputs."""
    input_range: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest possible value of an input entry."""
    outputs: OptionalText = None
    """Which of several outputs of the factory's model holds the scores: a key, a field or a place, such as logits or 0;
    by default found where only one can be meant."""
    input_shape: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="INT ...", help_behavior_hint="")] = None
    """Shape of one input, such as 1 28 28; only needed without data."""
    resize: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="HEIGHT WIDTH", help_behavior_hint="")] = None
    """Size in pixels that the images of a folder are brought to, by bilinear interpolation without keeping the aspect
    ratio; for folders whose images differ in size."""
    probe: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME", help_behavior_hint="")
    ] = ()
    """Run only this probe; may be repeated. Slow ones run only where they are named, as `assay list` says."""
    fail_on: FailOn = "never"
    """Gate: exit with 1 when a finding has at least this severity, and with 3 when that cannot be told, because a
    probe failed or most were skipped. Other exit codes: 0 done; 2 bad input, or the report cannot be written; 130
    interrupted by Ctrl-C, 143 by SIGTERM, with a report of what was finished."""
    out: OptionalPath = None
    """Folder to write; by default assay-audit/<subject>-<n>."""
    seed: int = 0
    """Seed of every random draw."""
    device: OptionalText = None
    """Device to compute on, such as cuda; by default the model's. On a CPU one thread computes; the environment
    variable OMP_NUM_THREADS sets more."""
    minutes: float = 9.0
    """Time for all probes, of which each has an equal share of what the ones before it left; one that would take longer
    does less, and says so."""


@dataclass(frozen=True, kw_only=True)
class Study(_Command):
    """Rerun the experiments of papers and report which of their claims hold.

    Example: assay study malt
    """

    slugs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SLUG ...", help_behavior_hint="")]
    """Studies to run; see `assay list`."""
    scale: Literal["smoke", "small", "paper"] = "small"
    """smoke: seconds; small: minutes on two cores; paper: the paper's own scale."""
    seed: int = 0
    """Seed of every random draw."""
    device: str = "cpu"
    """Device to compute on, such as cuda."""
    out: Path = Path("runs")
    """Folder of the runs; an interrupted run resumes from there."""
    records: OptionalPath = None
    """Folder for the record of a run at scale small; by default records/, if that folder exists."""
    jobs: int = 1
    """Parallel workers."""
    backend: Literal["loky", "dask", "ray"] = "loky"
    """Where parallel workers run: loky: processes on this machine; dask, ray: a cluster."""
    address: OptionalText = None
    """Address of the dask or ray cluster; by default one is started here."""
    rejudge: bool = False
    """Run nothing: apply today's rule for verdicts to the values in the records, and write those that change."""


@dataclass(frozen=True, kw_only=True)
class List(_Command):
    """List the studies with the methods they test, the probes and the built-in subjects."""


@dataclass(frozen=True, kw_only=True)
class Report(_Command):
    """Write the gallery, one page of all records, or rewrite the report of a past audit.

    Example: assay report --out gallery.html
    """

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[AUDIT]", help_behavior_hint="")] = None
    """Folder of a past audit: its report.html is rewritten from findings.json. Without it, the gallery is written."""
    records: OptionalPath = None
    """Folder of the records; by default records/ here, or else the records that come with assay."""
    out: OptionalPath = None
    """File to write; by default gallery.html, or report.html in the audit's folder."""


Command = Audit | Study | List | Report
_COMMANDS = {"audit": Audit, "study": Study, "list": List, "report": Report}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; by default those of the process.

    Returns:
        The exit code: 0 done, 1 a finding at or above ``--fail-on``, 2 bad input, 3 ``--fail-on`` cannot be decided,
        130 interrupted, 143 terminated.

    >>> main(["--version"])
    assay 0.1.0
    0
    """
    with forgiving_stderr(), stoppable(ends_process=argv is None) as stop:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        except KeyboardInterrupt:
            complain("interrupted")
            return stop.exit_code


def _run(arguments: list[str]) -> int:
    """Run a command; an error becomes one sentence on stderr."""
    _use_one_thread()
    try:
        return _obey(arguments)
    except BrokenPipeError:  # `assay --help | head`
        drain()
        return 0
    except (Exception, SystemExit) as error:  # no exit of other code may pass for one of ours
        if "--debug" in arguments:
            traceback.print_exc()
        else:
            complain(sentence(error))
        drain()
        return 2


def _obey(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from assay import __version__

        say(f"assay {__version__}")
        return 0
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            _COMMANDS,
            prog="assay",
            description="Audit trained neural networks, and rerun the experiments of papers.\n\n"
            "`assay --version` prints the version.",
            args=arguments or ["--help"],
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except SystemExit as end:  # --help, or arguments that do not parse
        print(end="", flush=True)
        return end.code if isinstance(end.code, int) else 2
    return _RUNNERS[type(command)](command)


def _use_one_thread() -> None:
    """Keep each process to one thread: two that share a core are slower than one."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read when torch and NumPy are first imported, which is later


def _study(command: Study) -> int:
    from assay import studies
    from assay.lab import record, rewrite, run_study, write_study_page

    check_seed(command.seed)
    if not command.slugs:
        raise Refusal("name at least one study; assay list shows them")
    records = command.records or (Path("records") if Path("records").is_dir() else None)
    if command.rejudge:
        if records is None:
            raise Refusal("--rejudge needs records; name their folder with --records")
        for path, verdicts in rewrite(records, command.slugs).items():
            say(f"{path}: {'; '.join(verdicts) or 'the same verdicts'}")
        return 0
    for study in [studies.load(slug) for slug in command.slugs]:
        run = run_study(
            study,
            scale=command.scale,
            seed=command.seed,
            out=command.out,
            jobs=command.jobs,
            backend=command.backend,
            address=command.address,
            device=command.device,
            progress=True,
        )
        say(f"{study.paper.title} ({study.paper.year})")
        say(columns([(name, run.verdicts[name], str(claim)) for name, claim in study.claims.items()]))
        if run.planned:
            looks, taken = run.planned.seeds, run.looks
            say(f"  {len(taken)} of {len(looks)} planned looks: {taken[-1]} of at most {looks[-1]} seeds")
        if records is not None and command.scale == "small":
            say(record(run, records))
        say(write_study_page(run))
    return 0


def _list(command: List) -> int:
    from assay import studies
    from assay.audit import probes
    from assay.audit.builtin import BUILT_IN

    rooms, titles, methods = studies.rooms(), studies.titles(), studies.methods()
    for room in sorted(set(rooms.values())):
        cells = [[(slug, titles[slug]), ("", ", ".join(methods[slug]))] for slug in titles if rooms[slug] == room]
        say(f"Studies: {room} (assay study SLUG)")
        say(columns([row for study in cells for row in study if any(row)]) + "\n")
    only_named = dict.fromkeys(probes.opt_in_names(), " Runs only where it is named.")
    questions = [(name, question + only_named.get(name, "")) for name, question in probes.questions().items()]
    say(f"Probes (assay audit SUBJECT --probe PROBE)\n{columns(questions)}\n")
    say(f"Built-in subjects (assay audit SUBJECT)\n{columns(list(BUILT_IN.items()))}")
    return 0


def _report(command: Report) -> int:
    if command.run is not None:
        from assay.audit import rerender

        say(rerender(command.run, command.out))
        return 0
    from assay import studies
    from assay.lab import find_records, read_records, write_gallery

    records = command.records or find_records()
    known = {entry["slug"] for entry in read_records(records)} & set(studies.slugs())
    found = [studies.load(slug) for slug in sorted(known)]
    say(write_gallery(records, command.out or Path("gallery.html"), studies=found))
    return 0


_RUNNERS: dict[type, Callable[..., int]] = {Audit: audit, Study: _study, List: _list, Report: _report}
