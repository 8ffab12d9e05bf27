"""Surrogate gradient for ReLU (Haim et al., 2022)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from assay.core import InvalidInputError, check_model, check_positive, copy_network

_KINKED = (
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.Hardtanh,  # ReLU6 is one
    nn.Hardsigmoid,
    nn.Threshold,
    nn.Hardshrink,
    nn.Softshrink,
)
_KINKED_CALLS = {
    "leaky_relu",
    "leaky_relu_",
    "prelu",
    "rrelu",
    "rrelu_",
    "relu6",
    "hardtanh",
    "hardtanh_",
    "hardsigmoid",
    "threshold",
    "threshold_",
    "hardshrink",
    "softshrink",
}


class _SurrogateReLU(torch.autograd.Function):
    """ReLU forward, sigmoid gate backward; the gate consists of plain operations, so it can be differentiated."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, sharpness: Tensor) -> Tensor:
        return z.relu()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        z, sharpness = ctx.saved_tensors
        return gradient * torch.sigmoid(sharpness * z), None


class SurrogateReLU(nn.Module):
    r"""Compute $\max(z, 0)$ with the derivative $s(\alpha z)$, $s$ the logistic sigmoid.

    The derivative of ReLU is a step function, whose derivative is zero almost everywhere: a search that differentiates
    through a network's gradient gets no signal from its gates. The sigmoid gives a signal, and allows fractional gates
    for the many samples that lie on a kink at the end of training.

    Args:
        alpha: Sharpness of the gate; it can be changed through the attribute `alpha`.
        scale: Factor on the sharpness of each unit; 1 when None.

    Raises:
        InvalidInputError: `alpha` is not positive.

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022), appendix with the
    implementation details (modified ReLU).

    >>> SurrogateReLU(10.0)(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    alpha: Tensor
    scale: Tensor

    def __init__(self, alpha: float = 100.0, *, scale: Float[Tensor, " h"] | None = None) -> None:
        super().__init__()
        check_positive(alpha, "alpha")
        self.register_buffer("alpha", torch.tensor(float(alpha)), persistent=False)
        self.register_buffer("scale", torch.ones(1) if scale is None else scale, persistent=False)

    def forward(self, z: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Apply ReLU to pre-activations; their last axis is the units."""
        return _SurrogateReLU.apply(z, (self.alpha * self.scale).to(z))

    def extra_repr(self) -> str:
        """Show the sharpness."""
        return f"alpha={self.alpha.item():g}"


def with_surrogate_relu(model: nn.Module, alpha: float = 100.0) -> nn.Module:
    """Copy a network and replace the derivative of every ReLU, module or function, by the surrogate.

    Smooth activations beside the ReLUs keep their own derivatives.

    Args:
        model: Network that uses `nn.ReLU`, `torch.relu`, `Tensor.relu` or `nn.functional.relu`.
        alpha: Sharpness of the gates; `set_sharpness` changes it later.

    Returns:
        A copy with the same outputs; the model is unchanged.

    Raises:
        InvalidInputError: The network's weights cannot be used, or it has other activations with a kink, here or in its
            `forward`, or neither a ReLU module nor a call of one in its `forward`.

    >>> net = with_surrogate_relu(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    >>> net[1]
    SurrogateReLU(alpha=100)
    """
    if next(model.parameters(), None) is not None:  # a layer alone, as nn.ReLU(), has none
        check_model(model)
    twin = copy_network(model)
    if isinstance(twin, nn.ReLU):
        return SurrogateReLU(alpha)
    modules = list(twin.named_modules())
    kinked = [f"{type(module).__name__} ({name})" for name, module in modules if isinstance(module, _KINKED)]
    gates = [name for name, module in modules if isinstance(module, nn.ReLU)]
    if kinked and gates:
        raise _mixed(kinked)
    for name in gates:
        parent, _, leaf = name.rpartition(".")
        setattr(twin.get_submodule(parent), leaf, SurrogateReLU(alpha))
    if gates and all(_calls_nothing_else(module) for _, module in modules):
        return twin
    return _FunctionalSurrogate(twin, alpha, has_modules=bool(gates))


def _calls_nothing_else(module: nn.Module) -> bool:
    """Tell whether a module of torch has no code of its own around the modules in it."""
    is_container = isinstance(module, nn.Sequential) or next(module.children(), None) is None
    return type(module).__module__.startswith("torch.nn.") and is_container


def _mixed(kinked: list[str]) -> InvalidInputError:
    return InvalidInputError(
        f"the network has {kinked[0]} beside ReLU, a kink without a surrogate derivative, so that the search would "
        "see only part of its gates; reconstruction from weights is built for networks whose activations are ReLU, or "
        "ReLU and smooth ones"
    )


def set_sharpness(model: nn.Module, alpha: float) -> None:
    """Set the sharpness of every `SurrogateReLU` in a network, in place.

    Args:
        model: Network from `with_surrogate_relu`.
        alpha: New sharpness.

    >>> net = with_surrogate_relu(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    >>> set_sharpness(net, 300.0)
    >>> net[1]
    SurrogateReLU(alpha=300)
    """
    for module in model.modules():
        if isinstance(module, SurrogateReLU):
            module.alpha.fill_(alpha)


class _FunctionalSurrogate(nn.Module):
    """Run a network with functional calls of relu replaced by the surrogate, beside modules that are replaced."""

    def __init__(self, model: nn.Module, alpha: float, *, has_modules: bool) -> None:
        super().__init__()
        self.model = model
        self.relu = SurrogateReLU(alpha)
        self.has_modules = has_modules

    def forward(self, x: Tensor) -> Tensor:
        with _SwapReLU(self.relu) as mode:
            output = self.model(x)
        if not (mode.calls or self.has_modules):
            raise InvalidInputError(
                "the network has no ReLU, neither as a module nor as a call of relu in its forward; "
                "reconstruction from weights is built for ReLU networks"
            )
        if mode.kinked:
            raise _mixed(mode.kinked)
        return output


class _SwapReLU(TorchFunctionMode):
    """Redirect every call of relu inside the block to a surrogate, and note calls of other kinked activations."""

    targets = (torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, nn.functional.relu)

    def __init__(self, relu: SurrogateReLU) -> None:
        super().__init__()
        self.surrogate = relu
        self.calls = 0
        self.kinked: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(func is target for target in self.targets):
            self.calls += 1
            return self.surrogate(args[0] if args else kwargs["input"])
        name = getattr(func, "__name__", "")
        if name in _KINKED_CALLS:
            self.kinked.append(name)
        return func(*args, **(kwargs or {}))
