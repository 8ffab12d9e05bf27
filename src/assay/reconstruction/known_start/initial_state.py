"""The initial weights of a trained network, guessed from its seed or read from a public checkpoint."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Parameters,
    check_model,
    isolated_rng,
    named_parameters,
    track,
    unwrapped,
    unwrapped_state,
)
from assay.core.recording import random_state_kept
from assay.reconstruction.known_start.correlation import (
    StartCorrelation,
    screened_tensors,
    split_unchanged,
    z_threshold,
)
from assay.reconstruction.known_start.drawn_state import drawn_state
from assay.reconstruction.known_start.initializers import (
    BuiltStart,
    Skip,
    StartDraw,
    drawn_tensors,
    layer_stages,
)
from assay.reconstruction.known_start.options import checked_options, checked_seeds
from assay.reconstruction.known_start.share import start_share

_GIVEN = "checkpoint"
_ANOTHER_SCALE = 1.02  # a share that no training leaves
_SAME_NETWORK = 0.1  # correlation from which a checkpoint counts: networks of the same data have some hundredths


@dataclass(frozen=True, eq=False)
class InitialState:
    r"""Hold a network's initial weights, and how far its trained weights bear them out.

    Attributes:
        seed: Seed that draws them; None where none of those tried does, and for a checkpoint.
        z: z-score of their correlation with the trained weights, over the tensors that training changed.
        runner_up_z: Best z-score of another seed; None where a single one was tried.
        threshold: z-score from which a start counts as found.
        level: Probability that any wrong start reaches the threshold.
        n_tried: Starts tried.
        share: Share of the start that is left in the trained weights, see `start_share`; 0 without a start.
        shares: The same by parameter.
        state: Initial weights and buffers under the names of the network (without wrappers), in its types and on its
            devices; empty without a start.
        unchanged: Parameters that the trained network has exactly as they were drawn: they were frozen.
        initializer: "build", "default", the name of an initialiser, or "checkpoint".
        skip: Numbers drawn before the network, or the function called before it.
        device: Device of the generator.
        dtype: Default type while the network was built; None for a checkpoint.
    """

    seed: int | None
    z: float
    runner_up_z: float | None
    threshold: float
    level: float
    n_tried: int
    share: float
    shares: dict[str, float]
    state: Parameters
    unchanged: tuple[str, ...]
    initializer: str
    skip: Skip
    device: str
    dtype: torch.dtype | None

    @property
    def found(self) -> bool:
        """Whether the trained weights come from this start."""
        return bool(self.state) and self.z > self.threshold

    def __str__(self) -> str:
        chance = f"passed by independent weights with probability {self.level:g} at most"
        limit = f"the threshold is {self.threshold:.3g}, {chance}"
        frozen = f" Unchanged since the start: {', '.join(self.unchanged)}." if self.unchanged else ""
        what = "the checkpoint" if self.initializer == _GIVEN else f"seed {self.seed} (initialiser {self.initializer})"
        if not self.state:
            return f"None of the {self.n_tried} starts tried: the best z-score is {self.z:.3g}, and {limit}."
        if not self.found:
            told = "only unchanged weights agree with" if self.unchanged else "the weights do not come from"
            return f"Not found: {told} {what}; the trained weights have a z-score of {self.z:.3g}, and {limit}.{frozen}"
        if len(self.unchanged) == len(self.shares):
            return f"The weights are those of {what}: the network was not trained (z-score {self.z:.3g})."
        by_name = self.initializer not in (_GIVEN, "build")
        scale = " More than all: the script drew it at another scale." * (by_name and self.share > _ANOTHER_SCALE)
        part = "All" if f"{self.share:.4g}" == "1" else f"{self.share:.4g}"
        left = f"{part} of it is left.{scale}"
        return f"The weights come from {what}: z-score {self.z:.3g}; {limit}. {left}{frozen}"

    @classmethod
    def from_checkpoint(cls, model: nn.Module, state: Parameters, *, level: float = 1e-6) -> "InitialState":
        """Take a public checkpoint as the start of a network that was fine-tuned from it.

        Adapters are merged into the weights first: the product of LoRA's factors is a part of the displacement.
        Two networks trained on the same data correlate a little, whatever their starts. So a checkpoint counts as the
        start only from a correlation of 0.1, which `threshold` gives as a z-score.

        Args:
            model: Fine-tuned network; it comes back as it was.
            state: Weights of the checkpoint under the names of the network, with or without those of wrappers.
            level: Probability that a checkpoint of independent weights counts as the start.

        Returns:
            The start, with the share of it that is left, and the names of what was frozen.

        Raises:
            InvalidInputError: The model cannot be used, or the checkpoint lacks some of its parameters.

        >>> base = nn.Linear(20, 30)
        >>> tuned = nn.Linear(20, 30)
        >>> _ = tuned.load_state_dict({name: 0.9 * value for name, value in base.state_dict().items()})
        >>> start = InitialState.from_checkpoint(tuned, base.state_dict())
        >>> start.found, round(start.share, 4)
        (True, 0.9)
        """
        check_model(model)
        least, end = z_threshold(level, 1), named_parameters(model)
        state = unwrapped_state(state, end)
        wrong = [name for name, value in end.items() if name not in state or state[name].shape != value.shape]
        if wrong:
            names = ", ".join(wrong[:4])
            raise InvalidInputError(
                f"the checkpoint lacks parameters of the network, or has them in another shape ({names}); "
                "merge adapters into the weights, and add the start of a new head, or examine the layers before it"
            )
        broken = [name for name in end if not bool(torch.isfinite(state[name]).all())]
        if broken:
            raise InvalidInputError(
                f"the checkpoint holds NaN or infinite weights ({', '.join(broken[:4])}); load a healthy one"
            )
        with torch.inference_mode(False), torch.no_grad():
            z, n_entries, unchanged, share, shares = _evidence(state, end, list(end))
            kept = _like_model(state, model)
        threshold = max(least, _SAME_NETWORK * n_entries**0.5)
        return cls(None, z, None, threshold, level, 1, share, shares, kept, unchanged, _GIVEN, 0, "", None)


def guess_initial_state(
    model: nn.Module,
    build: Callable[[], nn.Module] | None = None,
    *,
    seeds: Iterable[int] = range(1000),
    skips: Sequence[Skip] = (0,),
    initializers: Sequence[str] | None = None,
    devices: Sequence[str] = ("cpu",),
    dtypes: Sequence[torch.dtype] | None = None,
    level: float = 1e-6,
    progress: bool = False,
) -> InitialState:
    r"""Guess the seed that a network was initialised under, and return its initial weights.

    Each seed's start is drawn as a script would, after `torch.manual_seed(seed)`, and correlated with the trained
    weights; see `StartCorrelation` for the z-score. Of m starts that have nothing to do with the weights, one passes
    the threshold $\sqrt{2 \ln(m / \alpha)}$ with probability $\alpha$ at most. The first tensors that make up 65,536
    entries are compared, and the best start then in all tensors that training changed.

    Without `build`, each layer is drawn by its own `reset_parameters` in the order of the modules: PyTorch's default.
    If no seed is found so, the weights of dense layers and convolutions are drawn again after that, as scripts do that
    call `nn.init` on a finished network. Initialisers of one distribution differ in scale only: the one that leaves the
    share nearest to one is named. Biases count as zero where that is nearer to the trained ones.

    Cost: time O(m p) draws, about 2 ms for each 400,000 parameters; memory two networks, three for each initialiser
    without `build`.

    Args:
        model: Trained network; it comes back as it was.
        build: Function without arguments that builds the network as before training.
        seeds: Seeds to try.
        skips: Numbers that the script drew with `torch.rand` between the seed and the network, or functions that draw
            what it drew, such as `lambda: torch.randperm(60000)`; each is tried.
        initializers: Without `build`: "default" and the names in `INITIALIZERS` to try; all when None.
        devices: Devices whose generators are tried: "cpu", "cuda".
        dtypes: Default types to build the network in; float32 when None, and for weights in float64 that as well.
        level: Probability $\alpha$ of a false alarm over all starts.
        progress: Draw a progress bar.

    Returns:
        The start. Where no seed passes the threshold, `found` is False, `seed` None and `state` empty. A seed whose
        draws agree with frozen layers only is named, but not `found`.

    Raises:
        InvalidInputError: The model cannot be used, an option is out of range, or `build` raises, returns another
            architecture, or does not depend on the seed alone.

    Source: Loo et al., Understanding Reconstruction Attacks with the Neural Tangent Kernel and Dataset Distillation
    (2023), main text, takes the initial weights as known; guessing them is ours.

    >>> def build():
    ...     return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 1))
    >>> with isolated_rng(7):
    ...     model = build()
    >>> with torch.no_grad():
    ...     _ = [weight.mul_(0.9).add_(0.01) for weight in model.parameters()]
    >>> start = guess_initial_state(model, build, seeds=range(20))
    >>> start.seed, round(start.share, 4)
    (7, 0.9)
    """
    check_model(model)
    end = named_parameters(model)
    seeds = checked_seeds(seeds)
    if dtypes is None:
        dtypes = [torch.float32] + [torch.float64] * any(value.dtype == torch.float64 for value in end.values())
    names = checked_options(build, skips, initializers, devices, dtypes)
    ways = [{"skip": skip, "device": device, "dtype": dtype} for skip, device, dtype in product(skips, devices, dtypes)]
    with torch.inference_mode(False), random_state_kept(torch.device("cpu")), isolated_rng(0):
        if build is not None:
            n_kinds, stages = 1, [[BuiltStart(build=build, initializer="build", **way) for way in ways]]
        else:
            n_kinds, stages = layer_stages(model, names, ways)
        n_tried = len(seeds) * len(ways) * n_kinds
        threshold = z_threshold(level, n_tried)
        z, seed, start, runner_up = _best_start(stages, end, seeds, threshold, progress=progress)
        tried = (runner_up, threshold, level, n_tried)
        if z <= threshold:
            return InitialState(None, z, *tried, 0.0, {}, {}, (), "", 0, "", None)
        drawn = drawn_tensors(start, end, seed)
        initializer, state = drawn_state(start, seed, end, names)
        z, _, unchanged, share, shares = _evidence(state, end, drawn)
        how = (initializer, start.skip, start.device, start.dtype)
        return InitialState(seed, z, *tried, share, shares, _like_model(state, model), unchanged, *how)


def _best_start(
    stages: Iterable[Iterable[StartDraw]], end: Parameters, seeds: list[int], threshold: float, *, progress: bool
) -> tuple[float, int, StartDraw, float | None]:
    """Return the best z-score with its seed and its draw, and the best of another seed; stop at a stage that finds."""
    best: tuple[float, int, StartDraw] | None = None
    scores: dict[int, float] = {}
    for stage in stages:
        for start in stage:
            for z, seed in _scores(start, end, seeds, progress=progress):
                best = (z, seed, start) if best is None or z > best[0] else best
                scores[seed] = max(z, scores.get(seed, z))
        if best is not None and best[0] > threshold:
            break
    if best is None:
        raise InvalidInputError(
            "there is nothing to compare: what is drawn at random has one value throughout in the model, or the named "
            "initializers draw none of its layers; pass a trained network, and 'default' among the initializers"
        )
    return *best, max((z for seed, z in scores.items() if seed != best[1]), default=None)


def _scores(start: StartDraw, end: Parameters, seeds: list[int], *, progress: bool) -> Iterator[tuple[float, int]]:
    """Yield the z-score of each seed over the first tensors that it draws."""
    compared = screened_tensors(start.compared(drawn_tensors(start, end, seeds[0])), end)
    if not compared:
        return
    correlation = StartCorrelation({name: end[name] for name in compared})
    for seed in track(seeds, f"seeds ({start.initializer})", enabled=progress):
        network = start.network(seed, compared[-1])
        yield correlation({name: network.get_parameter(name) for name in compared}), seed


def _evidence(
    start: Parameters, end: Parameters, drawn: Sequence[str]
) -> tuple[float, int, tuple[str, ...], float, dict[str, float]]:
    """Return the z-score and the entries of what training changed, the names of the rest, and the share left."""
    start = {name: start[name].detach().to(value.device) for name, value in end.items()}
    changed, unchanged = split_unchanged(start, end)
    compared = [name for name in drawn if name in changed] if changed else drawn
    ends = {name: end[name].double() for name in compared}
    correlation = StartCorrelation(ends)
    z = correlation({name: start[name].to(ends[name]) for name in compared})
    return z, correlation.n_entries, tuple(unchanged), *start_share(start, end)


def _like_model(state: Parameters, model: nn.Module) -> Parameters:
    """Return a state in the types and on the devices of a network; what it lacks is as in the network."""
    own = {name: value for name, value in unwrapped(model).state_dict().items() if isinstance(value, Tensor)}
    return {name: state.get(name, value).detach().to(value, copy=True) for name, value in own.items()}
