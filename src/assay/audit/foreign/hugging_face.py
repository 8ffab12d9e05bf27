"""Classifiers of text and images that Hugging Face's `transformers` saved in a local folder."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import InvalidInputError, LossFunction, cross_entropy, isolated_rng, require_extra, squared_error

_KINDS = {"ForSequenceClassification": "text", "ForImageClassification": "images"}
_CONFIG, _NORMALISATION = "config.json", "preprocessor_config.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_UNCERTAIN = {  # entries of config.json that bring in more than the folder's own weights
    "auto_map": "asks for code of its own (auto_map), which is not run; save the model from a class of transformers",
    "quantization_config": "is of quantised weights; save the network with floating-point weights",
}


class PretrainedClassifier(nn.Module):
    """A classifier of `transformers` as a network from one tensor to scores.

    Args:
        network: The classifier.
        reads: ``"text"`` for token ids of shape (n, t), ``"images"`` for pixels.
        padding: The id of padding, which attention leaves out; None for none.
        mean: Mean of each channel, subtracted from images; None for none.
        scale: What each channel is divided by then.
    """

    mean: Tensor | None
    scale: Tensor | None

    def __init__(
        self, network: nn.Module, reads: str, *, padding: int | None, mean: Tensor | None, scale: Tensor | None
    ) -> None:
        super().__init__()
        self.network, self.reads, self.padding = network, reads, padding
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of shape (n, c)."""
        if self.reads == "text":
            mask = torch.ones_like(x) if self.padding is None else (x != self.padding).to(x.dtype)
            return self.network(input_ids=x, attention_mask=mask).logits
        pixels = x if self.mean is None or self.scale is None else (x - self.mean) / self.scale
        return self.network(pixel_values=pixels).logits


@dataclass(frozen=True)
class Pretrained:
    """A classifier from a folder: the network, its loss, its classes' names where it has them, and notes."""

    model: PretrainedClassifier
    loss: LossFunction
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def is_pretrained(folder: Path) -> bool:
    """Return whether a folder holds a model of `transformers`."""
    return (folder / _CONFIG).is_file()


def load_pretrained(folder: Path, *, input_range: tuple[float, float] = (0.0, 1.0)) -> Pretrained:
    """Read a classifier of text or images from a folder, without network access and without code of the folder's own.

    Args:
        folder: Holds ``config.json`` and ``model.safetensors``, as ``save_pretrained`` writes them.
        input_range: Range of images: with values from 0 to 1 they are normalised inside the network as
            ``preprocessor_config.json`` says, others are taken as normalised already.

    Raises:
        InvalidInputError: The folder holds something else, or needs code or files from elsewhere.
        MissingExtraError: `transformers` is not installed.
    """
    config = _read_json(folder / _CONFIG)
    reads = _check(folder, config)
    network = _load(folder, reads)
    mean, scale, notes = (None, None, ()) if reads == "text" else _normalisation(folder, input_range)
    padding = getattr(network.config, "pad_token_id", None)
    if reads == "text":
        note = "no id is padding" if padding is None else f"token {padding} is padding, which attention leaves out"
        notes = (f"{note}, as config.json says",)
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    if stored != "float32":
        notes = (*notes, f"weights stored as {stored} are computed with as float32")
    model = PretrainedClassifier(network, reads, padding=padding, mean=mean, scale=scale)
    if network.config.num_labels == 1:
        return Pretrained(model, squared_error, (), notes)
    names = tuple(str(network.config.id2label[place]) for place in range(network.config.num_labels))
    names = () if names == tuple(f"LABEL_{place}" for place in range(len(names))) else names
    return Pretrained(model, cross_entropy, names, notes)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} cannot be read as JSON ({error}); save the model again") from error
    if not isinstance(found, dict):
        raise InvalidInputError(f"{path} holds no JSON object; save the model again")
    return found


def _check(folder: Path, config: dict[str, Any]) -> str:
    """Return what the classifier reads; refuse what is no classifier or needs more than the folder's weights."""
    for entry, why in _UNCERTAIN.items():
        if config.get(entry):
            raise InvalidInputError(f"{folder / _CONFIG} {why}")
    if (folder / "adapter_config.json").exists():
        raise InvalidInputError(f"{folder} holds an adapter, whose base is elsewhere; merge the two and save them")
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise InvalidInputError(
            f"{folder} holds no {_WEIGHTS[0]}; save the model with save_pretrained, which writes safetensors (other "
            "files of weights can run code when they are read)"
        )
    names = config.get("architectures") or ["nothing that it names"]
    reads = next((what for kind, what in _KINDS.items() if kind in str(names[0])), None)
    if reads is None:
        raise InvalidInputError(
            f"{folder} holds {names[0]}; classifiers of text (...ForSequenceClassification) and images "
            "(...ForImageClassification) are audited, others through a Python file with a function subject()"
        )
    if config.get("problem_type") == "multi_label_classification":
        raise InvalidInputError(f"{folder} gives several labels a sample, and an audit takes one; select one output")
    return reads


def _load(folder: Path, reads: str) -> Any:
    """Load the network in float32, in evaluation mode, its weights all from the folder."""
    with _offline():
        library = require_extra("transformers", "text")
        kind = "AutoModelForSequenceClassification" if reads == "text" else "AutoModelForImageClassification"
        options = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
        try:
            with isolated_rng(0), _silent(library):
                network, info = getattr(library, kind).from_pretrained(
                    str(folder),
                    dtype=torch.float32,
                    attn_implementation="eager",  # the one that has second derivatives, and is never fetched
                    output_loading_info=True,
                    **options,
                )
        except Exception as error:  # a folder of another kind or a damaged one raises errors of many kinds
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InvalidInputError(
                f"{folder} cannot be loaded by transformers ({reason}); save the model again with save_pretrained"
            ) from error
    missing = sorted({*info["missing_keys"], *(str(name) for name, *_ in info["mismatched_keys"])})
    if missing:
        raise InvalidInputError(
            f"{folder} lacks weights of the classifier ({', '.join(missing[:3])}), which would be drawn at random; "
            "give the folder of the trained classifier"
        )
    return network.eval()


def _normalisation(
    folder: Path, input_range: tuple[float, float]
) -> tuple[Tensor | None, Tensor | None, tuple[str, ...]]:
    """Return each channel's mean and scale, and what is said of them."""
    path = folder / _NORMALISATION
    told = _read_json(path) if path.is_file() else {}
    mean, scale = told.get("image_mean"), told.get("image_std")
    if tuple(input_range) != (0.0, 1.0) or not (mean and scale) or told.get("do_normalize") is False:
        return None, None, ("images go into the network as they are given, without normalisation",)
    try:
        channels = [torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (mean, scale)]
    except (TypeError, ValueError, IndexError) as error:
        raise InvalidInputError(
            f"{path} holds an image_mean or image_std that is no list of numbers; mend it"
        ) from error
    note = f"images from 0 to 1 are normalised inside the network, as {_NORMALISATION} says: mean {mean}, scale {scale}"
    return channels[0], channels[1], (note,)


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the hub's client from the network, should it be imported here first."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


@contextmanager
def _silent(library: Any) -> Iterator[None]:
    """Hold back the bars and warnings of the library."""
    logs = library.utils.logging
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()
