"""Study: one paper, its claims, its settings by scale, and its experiment."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from assay.core import AssayError, InvalidInputError

SCALES = ("smoke", "small", "paper")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What may name a study, a cell, a figure or a table: each becomes part of a file's name."""


METHOD = re.compile(r"(?!assay\.)[a-z]\w*(\.[A-Za-z]\w*)+")
"""A public name below assay: its room, its topic where it has one, and the name itself."""


@dataclasses.dataclass(frozen=True)
class Paper:
    """Name the paper that a study follows.

    Args:
        title: The paper's title.
        authors: Its authors, as the paper prints them.
        year: The year it appeared.
        arxiv: Its arXiv identifier, e.g. ``"2407.02240"``.
        venue: Where it was published, e.g. ``"NeurIPS"``.

    >>> str(Paper("MALT Powers Up Adversarial Attacks", "Melamed, Yehudai, Shamir", 2024))
    'MALT Powers Up Adversarial Attacks (Melamed, Yehudai, Shamir, 2024)'
    """

    title: str
    authors: str
    year: int
    arxiv: str | None = None
    venue: str | None = None

    def __str__(self) -> str:
        return f"{self.title} ({self.authors}, {self.year})"


@dataclasses.dataclass(frozen=True)
class Claim:
    """State one claim, and what the paper measured for it.

    Args:
        text: The claim in our words, one sentence.
        paper: The paper's table or figure with its number, e.g. ``"Table 2: 62.1 %"``, or ``"states no number"``.
        ours: Whether the claim is ours and not the paper's.

    Raises:
        InvalidInputError: No text, or not exactly one of ``paper`` and ``ours=True``.

    >>> str(Claim("It is five times faster", paper="Table 2: 5.0x"))
    'It is five times faster'
    """

    text: str
    paper: str | None = None
    ours: bool = False

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InvalidInputError("a claim has no text; say in one sentence what is claimed.")
        if self.ours == bool(self.paper and self.paper.strip()):
            raise InvalidInputError(
                f"the claim {self.text!r} has paper={self.paper!r} and ours={self.ours}; give the paper's table or "
                "figure and number, such as paper='Table 2: 62.1 %', or paper='states no number', or else ours=True."
            )

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Study:
    """Declare one paper's experiment: what it claims and at which scales it can be run.

    Args:
        slug: The study's name on the command line; its package is the slug with underscores.
        paper: The paper that it follows.
        claims: Claims by identifier (``"C1"``, ``"C2"``, ...).
        scales: Settings by scale (``"smoke"``, ``"small"``, ``"paper"``): instances of a frozen dataclass
            whose fields are numbers, strings, booleans, None, or tuples of those.
        methods: The public names that it tests, below ``assay``: ``("adversarial.MALT",)``.

    Raises:
        InvalidInputError: A slug that cannot name a file, no claim, an unknown scale, settings that are not an instance
            of a frozen dataclass, or a method that is no dotted name.

    >>> Settings = dataclasses.make_dataclass("Settings", [("seeds", int, 3)], frozen=True)
    >>> study = Study("demo", Paper("On", "A", 2020), {"C1": Claim("It is on", ours=True)}, {"smoke": Settings()})
    >>> study.settings("smoke").seeds
    3
    """

    slug: str
    paper: Paper
    claims: Mapping[str, Claim]
    scales: Mapping[str, Any]
    methods: tuple[str, ...] = ()
    run: Callable[[Any, Any], None] | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.slug, "a study's slug")
        if not self.claims:
            raise InvalidInputError(f"study {self.slug!r} claims nothing: give claims={{'C1': Claim('...')}}.")
        untold = [name for name, claim in self.claims.items() if not isinstance(claim, Claim)]
        if untold:
            raise InvalidInputError(
                f"study {self.slug!r} gives {', '.join(untold)} as plain text; "
                "give Claim('...', paper='Table 2: 62.1 %')."
            )
        wrong = [name for name in self.methods if not METHOD.fullmatch(name)]
        if wrong:
            raise InvalidInputError(
                f"study {self.slug!r} tests the methods {wrong}; give public names below assay, such as "
                "'adversarial.MALT'."
            )
        unknown = sorted(set(self.scales) - set(SCALES))
        if unknown or not self.scales:
            raise InvalidInputError(
                f"study {self.slug!r} has the scales {sorted(self.scales)}; "
                f"give settings for one or more of {', '.join(SCALES)}."
            )
        for scale, settings in self.scales.items():
            if not _is_frozen_dataclass(settings):
                raise InvalidInputError(
                    f"the {scale!r} settings of study {self.slug!r} are {settings!r}; "
                    "give an instance of a dataclass declared with frozen=True."
                )

    def experiment(self, function: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        """Register ``function(settings, lab)`` as this study's experiment.

        Args:
            function: What runs the experiment; it brings its evidence through the lab.

        Returns:
            The function itself, so that this serves as a decorator.

        Raises:
            InvalidInputError: The study has an experiment already.
        """
        if self.run is not None:
            raise InvalidInputError(f"study {self.slug!r} has an experiment already: register one only.")
        object.__setattr__(self, "run", function)  # the one late field of a frozen object
        return function

    def settings(self, scale: str) -> Any:
        """Return the settings of one scale.

        Args:
            scale: ``"smoke"``, ``"small"`` or ``"paper"``.

        Returns:
            The study's own frozen settings dataclass.

        Raises:
            InvalidInputError: The study has no such scale.
        """
        if scale not in self.scales:
            raise InvalidInputError(
                f"study {self.slug!r} has no scale {scale!r}; choose one of {', '.join(self.scales)}."
            )
        return self.scales[scale]


def check_name(name: str, what: str) -> None:
    """Raise unless ``name`` can be part of a file's name.

    Args:
        name: The name to check.
        what: What it names, for the message.

    Raises:
        InvalidInputError: The name is empty or holds anything but letters, digits, ``.``, ``_`` and ``-``.
    """
    if not NAME.fullmatch(name):
        raise InvalidInputError(
            f"{what} is {name!r}; use letters, digits, '.', '_' and '-' only, a letter or digit first."
        )


def require_experiment(study: Study) -> Callable[[Any, Any], None]:
    """Return the study's experiment.

    Args:
        study: The study to be run.

    Returns:
        The registered function.

    Raises:
        AssayError: No experiment was registered.
    """
    if study.run is None:
        raise AssayError(f"study {study.slug!r} has no experiment: mark its function @STUDY.experiment.")
    return study.run


def _is_frozen_dataclass(value: object) -> bool:
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen
