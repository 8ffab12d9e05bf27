"""Decoder-only transformer with rotary positions and qk-layernorm (Wortsman et al., 2023)."""

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from assay.core import InvalidInputError, as_generator, check_count, check_positive

ROTARY_BASE = 10_000.0

NORM_EPS = 1e-6

# Standard deviation of a standard normal that is cut at two: dividing by it keeps the stated one.
TRUNCATED_STD = 0.87962566103423978


class QKLayerNorm(nn.Module):
    r"""Normalise queries and keys over the axis of each head, so that attention logits cannot grow.

    $q \mapsto \alpha_q \odot (q - \bar q) / \sqrt{\mathrm{var}(q) + \epsilon}$, and k likewise with $\alpha_k$; all
    heads share the two scales. Logits $\langle q, k\rangle / \sqrt{d_h}$ are then at most
    $\sqrt{d_h}\,\max|\alpha_q|\,\max|\alpha_k|$, and do not change with the size of the projections.

    Args:
        head_dim: Size $d_h$ of a head.
        eps: Added to the variance.

    Raises:
        InvalidInputError: `head_dim` is below one, or `eps` is not positive.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the section on attention-logit growth.

    >>> q, k = QKLayerNorm(4)(torch.randn(1, 2, 3, 4), 100 * torch.randn(1, 2, 3, 4))
    >>> round(k.square().mean().item(), 3)
    1.0
    """

    def __init__(self, head_dim: int, *, eps: float = NORM_EPS) -> None:
        super().__init__()
        check_count(head_dim, "head_dim")
        check_positive(eps, "eps")
        self.query_norm = nn.LayerNorm(head_dim, eps, bias=False)
        self.key_norm = nn.LayerNorm(head_dim, eps, bias=False)

    def forward(
        self, q: Float[Tensor, "n h t d"], k: Float[Tensor, "n h s d"]
    ) -> tuple[Float[Tensor, "n h t d"], Float[Tensor, "n h s d"]]:
        """Return the normalised queries and keys."""
        return self.query_norm(q), self.key_norm(k)


class EnforcedKappa(nn.Module):
    r"""Give each query and key the mean square $\kappa$: $u \mapsto \sqrt\kappa\,u / \sqrt{\mathrm{mean}(u^2)}$.

    Logits are then at most $\kappa \sqrt{d_h}$ in size.
    """

    def __init__(self, kappa: float) -> None:
        super().__init__()
        check_positive(kappa, "kappa")
        self.kappa = kappa

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rescaled queries and keys."""
        return self._rescaled(q), self._rescaled(k)

    def _rescaled(self, u: Tensor) -> Tensor:
        return self.kappa**0.5 * F.rms_norm(u, u.shape[-1:], eps=torch.finfo(u.dtype).tiny)


class CausalAttention(nn.Module):
    r"""Attend from each position to itself and earlier ones; queries and keys carry rotary positions.

    Args:
        dim: Width d.
        heads: Heads h, of even size d / h.
        normalize: Module `(q, k) -> (q, k)` that is applied before the rotation; the identity when None.
        scale: Factor of the inner products.
        generator: Source of the weights.
    """

    def __init__(
        self, dim: int, heads: int, *, normalize: nn.Module | None, scale: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.query, self.key, self.value, self.output = (linear(dim, dim, generator) for _ in range(4))
        self.normalize = normalize

    def queries_and_keys(self, x: Float[Tensor, "n t d"]) -> tuple[Float[Tensor, "n h t e"], Float[Tensor, "n h t e"]]:
        """Return queries and keys as they enter the inner product."""
        q, k = self._split(self.query(x)), self._split(self.key(x))
        if self.normalize is not None:
            q, k = self.normalize(q, k)
        return rotary(q), rotary(k)

    def attention_logits(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n h t t"]:
        """Return what the softmax is taken of, with minus infinity at later positions."""
        q, k = self.queries_and_keys(x)
        logits = self.scale * (q @ k.mT)
        later = torch.ones_like(logits[0, 0], dtype=torch.bool).triu(1)
        return logits.masked_fill(later, -torch.inf)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        """Return the attention layer's output."""
        q, k = self.queries_and_keys(x)
        mixed = F.scaled_dot_product_attention(q, k, self._split(self.value(x)), is_causal=True, scale=self.scale)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class DecoderBlock(nn.Module):
    r"""Apply $x + \mathrm{attention}(\mathrm{LN}(x))$, then $x + W_2\,\mathrm{gelu}(W_1 \mathrm{LN}(x))$."""

    def __init__(self, attention: CausalAttention, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, NORM_EPS, bias=False)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(dim, NORM_EPS, bias=False)
        self.mlp = nn.Sequential(linear(dim, 4 * dim, generator), nn.GELU(), linear(4 * dim, dim, generator))

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        """Return the block's output."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class DecoderTransformer(nn.Module):
    r"""Compute next-token logits by a pre-norm decoder without biases.

    Embedding, `depth` blocks of causal attention and a GELU layer of 4d units, a last LayerNorm and a head that does
    not share the embedding. LayerNorms have scales only. Attention logits are $\langle q, k\rangle/\sqrt{d_h}$, with
    rotary positions, after qk-layernorm. The embedding is drawn from $\mathcal N(0, 1/d)$, other weights from a
    normal distribution cut at two standard deviations, which has the standard deviation $1/\sqrt{\text{fan-in}}$.

    With `mup_base_dim`, the network is that of muParam (full): the head has the initial standard deviation
    $\sqrt{d_\text{base}}/d$, logits are $\langle q, k\rangle / d_h$, and queries start at zero; the learning rates come
    from `assay.generalization.mup_param_groups`, which alone is muParam (simple).

    Args:
        vocab_size: Number of tokens v.
        dim: Width d, a multiple of `heads`.
        depth: Number of blocks.
        heads: Number of heads h, of even size $d_h = d / h$.
        qk_layernorm: Normalise queries and keys (`QKLayerNorm`).
        kappa: Mean square that queries and keys are rescaled to, instead of qk-layernorm; a probe of large logits.
        mup_base_dim: Width at which muParam (full) is the standard parametrisation.
        generator: Source of the initial weights; a fixed seed by default.

    Raises:
        InvalidInputError: A size is below one, heads do not divide the width into even parts, or `kappa` is given with
            qk-layernorm.

    Cost: a forward pass takes time O(n t (depth d² + depth t d + d v)).

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the section on the experimental set-up, and for kappa and muParam the sections on interventions. Deviation: qk-
    layernorm precedes the rotation, which keeps norms.

    >>> DecoderTransformer(11, 8, depth=2, heads=2)(torch.zeros(3, 5, dtype=torch.long)).shape
    torch.Size([3, 5, 11])
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        depth: int,
        heads: int,
        *,
        qk_layernorm: bool = True,
        kappa: float | None = None,
        mup_base_dim: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"vocab_size": vocab_size, "dim": dim, "depth": depth, "heads": heads}.items():
            check_count(value, name)
        if dim % heads or dim // heads % 2:
            raise InvalidInputError(
                f"dim={dim} does not split into {heads} heads of even size, which rotary positions need; "
                f"give a multiple of {2 * heads}"
            )
        if kappa is not None and qk_layernorm:
            raise InvalidInputError("kappa fixes the norms that qk-layernorm learns; pass qk_layernorm=False with it")
        source, head_dim, full = as_generator(generator), dim // heads, mup_base_dim is not None
        self.embedding = skip_init(nn.Embedding, vocab_size, dim)
        nn.init.normal_(self.embedding.get_parameter("weight"), std=dim**-0.5, generator=source)
        scale = 1 / head_dim if full else head_dim**-0.5
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            normalize = QKLayerNorm(head_dim) if qk_layernorm else None if kappa is None else EnforcedKappa(kappa)
            attention = CausalAttention(dim, heads, normalize=normalize, scale=scale, generator=source)
            self.blocks.append(DecoderBlock(attention, dim, source))
        self.norm = nn.LayerNorm(dim, NORM_EPS, bias=False)
        self.head = linear(dim, vocab_size, source)
        if mup_base_dim is not None:
            check_count(mup_base_dim, "mup_base_dim")
            with torch.no_grad():
                self.head.weight.mul_((mup_base_dim / dim) ** 0.5)
            for block in self.blocks:
                nn.init.zeros_(block.get_parameter("attention.query.weight"))

    def forward(self, tokens: Shaped[Tensor, "n t"]) -> Float[Tensor, "n t v"]:
        """Return the logits of the next token at each position.

        Raises:
            InvalidInputError: The tokens are no integers of shape (n, t).
        """
        if tokens.ndim != 2 or tokens.is_floating_point():
            raise InvalidInputError(
                f"tokens must be integers of shape (n, t), got {tokens.dtype} of shape {tuple(tokens.shape)}; "
                "pass token numbers with a batch axis"
            )
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def linear(in_features: int, out_features: int, generator: torch.Generator) -> nn.Linear:
    """Build a linear layer without bias, drawn from a truncated normal of variance 1 / fan-in."""
    layer: Any = skip_init(nn.Linear, in_features, out_features, bias=False)
    std = in_features**-0.5 / TRUNCATED_STD
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std, generator=generator)
    return layer


def rotary(x: Float[Tensor, "n h t d"]) -> Float[Tensor, "n h t d"]:
    r"""Rotate the pair of entries (i, i + d/2) at position t by the angle $t \cdot 10000^{-2i/d}$.

    Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021), section 3.2.2, with the
    pairs of entries that GPT-NeoX takes.
    """
    half = x.shape[-1] // 2
    exact = torch.promote_types(x.dtype, torch.float32)  # a position above 256 has no bfloat16
    rates = ROTARY_BASE ** (-torch.arange(half, dtype=exact, device=x.device) / half)
    angles = torch.outer(torch.arange(x.shape[-2], dtype=exact, device=x.device), rates)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    one, two = x[..., :half], x[..., half:]
    return torch.cat([one * cosine - two * sine, one * sine + two * cosine], -1)
