"""Monitor of training stability: hooks on a network and its optimiser (Wortsman et al., 2023)."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from assay.core import InvalidInputError, check_count
from assay.generalization.instability.attention import attention_layers, logit_figures
from assay.generalization.instability.records import (
    StabilityRecord,
    adam_updates,
    average_records,
    find_blocks,
    first_tensor,
    highest,
    merged,
    rms,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class StabilityMonitor:
    r"""Record, every few steps of your own training loop, what grows or vanishes before a run diverges.

    The largest attention logit and the entropy of each attention layer, $\log Z$ of the output, the RMS of each block's
    output, and for each parameter the RMS of its value, its gradient and Adam's update. Fused attention hides its
    logits: they are computed again from the layer's inputs, on the first rows of the batch. `nn.MultiheadAttention`
    (also inside PyTorch's transformer layers) and `assay.nets.DecoderTransformer` are known; your own attention layer
    joins in with a method `attention_logits`, which takes what its `forward` takes and returns logits of shape
    (n, h, t, s), minus infinity where masked.

    Gradients are those that the optimiser receives, after clipping. Where gradients are accumulated, activations are
    those of the last forward pass before the step. `remove()`, or the end of the `with` block, takes all hooks away.

    Cost: on recorded steps O(n_rows h t²) a layer and a few passes over parameters; nothing on others.

    Args:
        model: The network, called as usual.
        optimizer: Its optimiser; a record is made at each of its steps. With None, one is made at each forward pass,
            without gradients and updates.
        every: Steps between records; the first step is recorded.
        n_rows: Rows of the batch on which attention logits are computed again.
        blocks: Names of the modules whose output is measured; by default the members of the outermost lists of layers.

    Attributes:
        records: A `StabilityRecord` for each recorded step.

    Raises:
        InvalidInputError: A block is unknown, the optimiser holds none of the network's parameters, or an attention
            layer adds keys of its own.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the sections on the two instabilities and on prediction from the scaling of model characteristics.

    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    >>> optimizer = torch.optim.AdamW(layer.parameters())
    >>> with StabilityMonitor(layer, optimizer) as monitor:
    ...     layer(torch.ones(3, 4, 8)).sum().backward()
    ...     optimizer.step()
    >>> round(monitor.records[0].entropies["self_attn"], 4)  # four equal keys: log 4
    1.3863
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        *,
        every: int = 1,
        n_rows: int = 4,
        blocks: Sequence[str] | None = None,
    ) -> None:
        check_count(every, "every")
        check_count(n_rows, "n_rows")
        self.records: list[StabilityRecord] = []
        self._optimizer, self._every, self._n_rows, self._step = optimizer, every, n_rows, 0
        self._named = dict(model.named_parameters())
        self._names = {id(parameter): name for name, parameter in self._named.items()}
        self._fast_attention = True
        self._start_pass()
        layers, watched = attention_layers(model), _blocks(model, blocks)
        if optimizer is not None:
            held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            if not held & set(self._names):
                raise InvalidInputError("the optimizer holds no parameter of the model; build it from this model")
        self._handles: list[Any] = [
            model.register_forward_pre_hook(self._before_pass, prepend=True),
            *(
                module.register_forward_hook(self._on_attention(name), with_kwargs=True)
                for name, module in layers.items()
            ),
            *(module.register_forward_hook(self._on_block(name)) for name, module in watched.items()),
            model.register_forward_hook(self._after_pass, always_call=True),
        ]
        if optimizer is not None:
            self._handles.append(optimizer.register_step_post_hook(self._after_step))

    def remove(self) -> None:
        """Take all hooks away; the records stay."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __enter__(self) -> "StabilityMonitor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def average(self, n_records: int) -> StabilityRecord:
        """Return the mean of the last records: figures of single steps are noisy.

        Raises:
            InvalidInputError: There are fewer records.
        """
        check_count(n_records, "n_records")
        if n_records > len(self.records):
            raise InvalidInputError(f"there are {len(self.records)} records, {n_records} were asked for; train longer")
        return average_records(self.records[-n_records:])

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the largest attention logit of each layer against the step, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        for name in self.records[-1].max_logits if self.records else ():
            seen = [record for record in self.records if name in record.max_logits]
            axes.semilogy([record.step for record in seen], [record.max_logits[name] for record in seen], label=name)
        axes.set(xlabel="step", ylabel="largest attention logit")
        if axes.lines:
            axes.legend()
        return axes

    @property
    def _due(self) -> bool:
        return self._step % self._every == 0

    def _start_pass(self) -> None:
        self._logits: dict[str, list[float]] = defaultdict(list)
        self._entropies: dict[str, list[float]] = defaultdict(list)
        self._outputs: dict[str, float] = {}
        self._last: tuple[float, float] | None = None

    def _before_pass(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._start_pass()
        # PyTorch's fused layers call no submodule, and with padding hand over nested tensors.
        self._fast_attention = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)

    def _on_attention(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: object) -> None:
            if self._due:
                largest, entropy = logit_figures(module, args, kwargs, self._n_rows)
                self._logits[name].append(largest)
                self._entropies[name].append(entropy)

        return hook

    def _on_block(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
            if self._due and (found := first_tensor(output)) is not None:
                self._outputs |= rms({name: found})

        return hook

    def _after_pass(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        torch.backends.mha.set_fastpath_enabled(self._fast_attention)
        if self._due and (found := first_tensor(output)) is not None:
            logits = found.detach().to(torch.promote_types(found.dtype, torch.float32))
            self._last = float(logits.logsumexp(-1).mean()), float(logits.amin())
        if self._optimizer is None and output is not None:
            self._close({})

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        found: dict[str, dict[str, float]] = {}
        if self._due:  # gradients are still there, also where the step took a closure
            found["gradient_rms"] = rms({name: p.grad for name, p in self._named.items() if p.grad is not None})
            found["update_rms"] = rms(adam_updates(optimizer, self._names))
            found["parameter_rms"] = rms(self._named)
        self._close(found)

    def _close(self, measured: Mapping[str, Mapping[str, float]]) -> None:
        if self._due:
            log_z, lowest = (None, None) if self._last is None else self._last
            record = StabilityRecord(
                self._step,
                max_logits=merged(self._logits, highest),
                entropies=merged(self._entropies, lambda values: sum(values) / len(values)),
                output_rms=self._outputs,
                log_z=log_z,
                lowest_output=lowest,
                **measured,
            )
            self.records.append(record)
            self._start_pass()
        self._step += 1


def _blocks(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    if names is None:
        return find_blocks(model)
    known: dict[str, nn.Module | Tensor] = dict(model.named_modules())
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInputError(f"the model has no module {unknown[0]!r}; names are those of model.named_modules()")
    return {name: model.get_submodule(name) for name in names}
