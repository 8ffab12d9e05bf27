"""Projection onto the intersection of an L1 ball and a box (Croce and Hein, 2021, proposition 2.1)."""

import torch
from jaxtyping import Float
from torch import Tensor


def project_l1_box(
    change: Float[Tensor, "n d"], low: Float[Tensor, "n d"], high: Float[Tensor, "n d"], radius: float
) -> Float[Tensor, "n d"]:
    r"""Return the point nearest to each row among those with $\lVert z\rVert_1 \le r$ and $l \le z \le h$.

    The solution is $z_i = \mathrm{sign}(u_i)\min(\max(|u_i| - \lambda, 0), c_i)$, with $c_i$ the room in the direction
    of $u_i$ and the smallest $\lambda \ge 0$ that keeps the ball. Its norm is piecewise linear in $\lambda$, with a
    kink where an entry leaves its bound and where it becomes zero.

    Args:
        change: Rows $u$.
        low: Lower bounds, at most zero.
        high: Upper bounds, at least zero.
        radius: Radius $r$ of the ball.

    Cost: time O(n d log d), memory O(n d).

    Source: Croce, Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image classifiers" (2021),
    proposition 2.1 and appendix A.

    >>> change, bound = torch.tensor([[3.0, 1.0, -0.5]]), torch.ones(1, 3)
    >>> project_l1_box(change, -bound, bound, 1.5).tolist()
    [[1.0, 0.5, -0.0]]
    """
    size, room = change.abs(), torch.where(change > 0, high, -low)
    leaves = (size - room).clamp_min(0)  # the lambda at which an entry leaves its bound; `size` is where it is zero
    kinks, order = torch.cat([leaves, size], 1).sort(dim=1)
    # Beyond a kink of the first kind one entry more shrinks with lambda, beyond one of the second kind one less.
    shrinking = torch.where(order < size.shape[1], 1.0, -1.0).to(size.dtype).cumsum(1)
    drops = torch.zeros_like(kinks)
    drops[:, 1:] = (shrinking[:, :-1] * kinks.diff(dim=1)).cumsum(1)
    norms = torch.minimum(size, room).sum(1, keepdim=True) - drops
    last = ((norms > radius).sum(1, keepdim=True) - 1).clamp_min(0)  # the last kink at which the ball is left
    beyond = (norms.gather(1, last) - radius) / shrinking.gather(1, last).clamp_min(1)
    shrink = torch.where(norms[:, :1] > radius, kinks.gather(1, last) + beyond, 0)
    nearest = change.sign() * torch.minimum((size - shrink).clamp_min(0), room)
    # Where entries are far larger than the ball, the difference that is left is rounded.
    return nearest * (radius / nearest.abs().sum(1, keepdim=True).clamp_min(radius))
