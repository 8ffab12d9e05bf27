"""Surrogate gradient for ReLU (Haim et al., 2022)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from assay.core import InvalidInputError, check_model, check_positive, copy_network
from assay.reconstruction.kkt.kinks import (
    KINKED,
    KINKED_CALLS,
    SMOOTH_CALLS,
    UNKNOWN_CALLS,
    UNKNOWN_KINKS,
    SurrogateKinks,
    surrogate_call,
)

_GATES = (nn.ReLU, *KINKED)
_RELU_CALLS = (torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, nn.functional.relu)


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
    """Copy a network and replace the derivative of every ReLU and its relatives, module or function, by the surrogate.

    The relatives are LeakyReLU, PReLU, ReLU6 and Hardtanh, see `SurrogateKinks`. Smooth activations (GELU, SiLU, tanh,
    ...) keep their own derivatives.

    Args:
        model: Network that uses any of these, as modules or by calls of `torch` or `nn.functional`.
        alpha: Sharpness of the gates; `set_sharpness` changes it later.

    Returns:
        A copy with the same outputs; the model is unchanged.

    Raises:
        InvalidInputError: The network's weights cannot be used, or it has other activations with a kink or, at its
            first call, no activation that is known.

    >>> net = with_surrogate_relu(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    >>> net[1]
    SurrogateReLU(alpha=100)
    """
    if next(model.parameters(), None) is not None:  # a layer alone, as nn.ReLU(), has none
        check_model(model)
    twin = copy_network(model)
    if isinstance(twin, _GATES):
        return _gate(twin, alpha)
    modules = list(twin.named_modules())
    unknown = [f"{type(module).__name__} ({name})" for name, module in modules if isinstance(module, UNKNOWN_KINKS)]
    if unknown:
        raise _refused(unknown)
    gates = [(name, module) for name, module in modules if isinstance(module, _GATES)]
    for name, module in gates:
        parent, _, leaf = name.rpartition(".")
        setattr(twin.get_submodule(parent), leaf, _gate(module, alpha))
    if gates and all(_calls_nothing_else(module) for _, module in modules):
        return twin
    return _FunctionalSurrogate(twin, alpha, has_modules=bool(gates))


def _gate(module: nn.Module, alpha: float) -> nn.Module:
    return SurrogateReLU(alpha) if isinstance(module, nn.ReLU) else SurrogateKinks(module, alpha)


def _calls_nothing_else(module: nn.Module) -> bool:
    """Tell whether a module of torch has no code of its own around the modules in it."""
    is_container = isinstance(module, nn.Sequential) or next(module.children(), None) is None
    return type(module).__module__.startswith("torch.nn.") and is_container


def _refused(unknown: list[str]) -> InvalidInputError:
    return InvalidInputError(
        f"the network has {unknown[0]}, a kink without a surrogate derivative, so that the search would not see all of "
        "its gates; reconstruction from weights is built for networks whose activations are ReLU, LeakyReLU, PReLU, "
        "ReLU6, Hardtanh or smooth"
    )


def set_sharpness(model: nn.Module, alpha: float) -> None:
    """Set the sharpness of every `SurrogateReLU` and `SurrogateKinks` in a network, in place.

    Args:
        model: Network from `with_surrogate_relu`.
        alpha: New sharpness.

    >>> net = with_surrogate_relu(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    >>> set_sharpness(net, 300.0)
    >>> net[1]
    SurrogateReLU(alpha=300)
    """
    for module in model.modules():
        if isinstance(module, (SurrogateReLU, SurrogateKinks)):
            module.alpha.fill_(alpha)


class _FunctionalSurrogate(nn.Module):
    """Run a network with calls of activations that have a kink replaced, beside modules that are replaced."""

    def __init__(self, model: nn.Module, alpha: float, *, has_modules: bool) -> None:
        super().__init__()
        self.model = model
        self.relu = SurrogateReLU(alpha)
        self.has_modules = has_modules

    def forward(self, x: Tensor) -> Tensor:
        with _SwapCalls(self.relu) as mode:
            output = self.model(x)
        if mode.unknown:
            raise _refused(mode.unknown)
        if not (mode.calls or self.has_modules):
            raise InvalidInputError(
                "the network has no activation that is known, neither as a module nor as a call in its forward; "
                "reconstruction from weights is built for networks with ReLU, LeakyReLU, PReLU, ReLU6, Hardtanh, or "
                "smooth ones such as GELU: a linear network holds one mixture of its samples for each output"
            )
        return output


class _SwapCalls(TorchFunctionMode):
    """Redirect every call of an activation inside the block to its surrogate, and note those that have none."""

    def __init__(self, relu: SurrogateReLU) -> None:
        super().__init__()
        self.surrogate = relu
        self.calls = 0
        self.unknown: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(func is target for target in _RELU_CALLS):
            self.calls += 1
            return self.surrogate(args[0] if args else kwargs["input"])
        name = getattr(func, "__name__", "").strip("_")  # leaky_relu_, _threshold
        if name in KINKED_CALLS:
            self.calls += 1
            return surrogate_call(name, self.surrogate.alpha, *args, **kwargs)
        self.calls += name in SMOOTH_CALLS
        if name in UNKNOWN_CALLS:
            self.unknown.append(name)
        return func(*args, **kwargs)
