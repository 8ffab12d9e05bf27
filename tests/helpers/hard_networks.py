"""Ways of writing a network that torch.func, forward mode or vmap refuse, and all derivatives of a network by hand."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from assay.core import isolated_rng


class Body(nn.Module):
    """Two layers around a function of the hidden units."""

    def __init__(self, middle: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.first, self.last, self.middle = nn.Linear(4, 5), nn.Linear(5, 3), middle

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


class InAList(Body):
    """Its weight a second time, under a name that is not registered."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = [self.last.weight]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.first(x)), self.weights[0]) + super().forward(x)


class Checkpointed(Body):
    def __init__(self, *, use_reentrant: bool) -> None:
        super().__init__()
        self.reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(lambda v: torch.tanh(self.first(v)), x, use_reentrant=self.reentrant))


class Writing(Body):
    """Writes into its input, into a tensor that it makes, into a buffer and into an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        x.sub_(0.5)
        hidden = x.new_zeros(len(x), 5)
        hidden[:, :5] = self.first(x)
        self.seen += 1
        self.kept = hidden.mul_(2)
        return self.last(torch.tanh(hidden))


class NoRule(torch.autograd.Function):
    """x³ in the new form, without a rule for `vmap`."""

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, slope):
        return 3 * ctx.saved_tensors[0] ** 2 * slope


class Once(NoRule):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return 3 * ctx.saved_tensors[0] ** 2 * slope


class OldCube(torch.autograd.Function):
    """x³ with a derivative that `torch.func` refuses: no `setup_context`, no rule for `vmap`."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, slope):
        return 3 * ctx.saved_tensors[0] ** 2 * slope


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.full((len(x),), 2)
        packed = nn.utils.rnn.pack_padded_sequence(x.unflatten(1, (2, 2)), lengths, batch_first=True)
        return self.out(self.cell(packed)[1][-1])


class Masked(nn.Module):
    """A transformer encoder with a mask: what its fast path packs into nested tensors."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(2, 2, 3, dropout=0.1, batch_first=True)
        self.encoder, self.out = nn.TransformerEncoder(layer, 1), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.zeros(len(x), 2, dtype=torch.bool)
        return self.out(self.encoder(x.unflatten(1, (2, 2)), src_key_padding_mask=mask)[:, -1])


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(2, 1, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.unflatten(1, (2, 2))
        return self.out(self.attention(steps, steps, steps)[0].flatten(1))


class Last(nn.Module):
    """The last step of a recurrent layer."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0][:, -1]


def hooked(register: Callable[[Body], object]) -> Body:
    model = Body()
    register(model)
    return model


def lost(module: nn.Module, inputs: tuple[Tensor | None, ...], outputs: object) -> tuple[Tensor | None, ...]:
    return tuple(None if slope is None else 0 * slope for slope in inputs)


def frozen() -> Body:
    model = Body()
    model.first.requires_grad_(False)
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": Body,
    "frozen first layer": frozen,
    "weight in a list": InAList,
    "checkpoint": lambda: Checkpointed(use_reentrant=False),
    "writes": Writing,
    "no rule for vmap": lambda: Body(NoRule.apply),
    "guard": lambda: Body(lambda h: torch.tanh(h) if h.abs().max() < 1e6 else h),
    "packed GRU": Packed,
    "masked encoder": Masked,
    "attention": SelfAttention,
    "deep bidirectional LSTM": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 2)),
        Last(nn.LSTM(2, 1, 2, batch_first=True, bidirectional=True, dropout=0.2)),
        nn.Linear(2, 3),
    ),
    "hook that changes gradients": lambda: hooked(lambda m: m.last.register_full_backward_hook(lost)),
    "hook before the backward pass": lambda: hooked(lambda m: m.last.register_full_backward_pre_hook(lambda *_: None)),
    "hook on a weight": lambda: hooked(lambda m: m.first.weight.register_hook(lambda slope: 0 * slope)),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(Body()),
    "orthogonal": lambda: nn.Sequential(
        nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 3)
    ),
}


def built(name: str) -> nn.Module:
    with isolated_rng(3):
        return NETWORKS[name]().double().eval()


def without_hooks(model: nn.Module) -> list[Tensor]:
    """Take all hooks off and return the parameters that are trained."""
    for module in model.modules():
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    params = [value for value in model.parameters() if value.requires_grad]
    for value in params:
        value._backward_hooks = None
    return params


class ByHand:
    """All derivatives of a network by backward passes, sample by sample and entry by entry."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        self.params = without_hooks(model)
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with sdpa_kernel(SDPBackend.MATH):
                self._differentiate(model, x, y)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)

    def _differentiate(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        outputs = [model(x[i : i + 1].clone()) for i in range(len(x))]
        rows = [self._slope(F.cross_entropy(f, y[i : i + 1])) for i, f in enumerate(outputs)]
        self.rows = torch.stack(rows).detach()
        self.jacobian = torch.stack([torch.stack([self._slope(score) for score in f[0]]) for f in outputs]).detach()
        self.hessian = torch.stack([self._slope(entry) for entry in torch.stack(rows).mean(0)]).detach()
        p = torch.cat(outputs).detach().softmax(1)
        curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None]
        self.gauss_newton = torch.einsum("ncp,ncd,ndq->pq", self.jacobian, curvature, self.jacobian) / len(x)

    def _slope(self, value: Tensor) -> Tensor:
        if not value.requires_grad:
            return torch.zeros(sum(weight.numel() for weight in self.params), dtype=value.dtype)
        found = torch.autograd.grad(value, self.params, create_graph=True, allow_unused=True)
        pairs = zip(found, self.params, strict=True)
        return torch.cat([(torch.zeros_like(weight) if s is None else s).reshape(-1) for s, weight in pairs])
