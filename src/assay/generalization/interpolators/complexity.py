"""Sample complexity of random interpolators with a narrow teacher (Buzaglo, Harel et al., 2024)."""

import math
from collections.abc import Sequence

from assay.core import InvalidInputError, check_count, check_fraction


def sample_complexity_bound(p_teacher: float, eps: float, delta: float) -> float:
    r"""Bound the number of samples after which guess and check generalises.

    With probability at least $1 - \delta$ over samples and weights, the test error is at most $\varepsilon$ where
    $N \ge (\log K + \log(2 / \delta)) / \varepsilon$, $K = \lceil \log(2 / \delta) / \tilde p \rceil$: one of K
    networks interpolates, and no network of those K with a larger error fits N samples.

    Args:
        p_teacher: Prior probability that a network is the teacher on the whole domain.
        eps: Test error.
        delta: Probability that the bound does not hold.

    Returns:
        The number of samples, not rounded.

    Raises:
        InvalidInputError: A number is not between 0 and 1.

    Source: Buzaglo, Harel et al., How Uniform Random Weights Induce Non-uniform Bias (2024), the main theorem; this is
    the explicit form of the union bound in its proof, from which (log(1 / p) + 3 log(2 / delta)) / eps follows.

    >>> round(sample_complexity_bound(0.016, 0.1, 0.1))
    82
    """
    if not 0 < p_teacher <= 1:
        raise InvalidInputError(f"p_teacher must be a probability above 0, got {p_teacher!r}")
    check_fraction(eps, "eps")
    check_fraction(delta, "delta")
    certainty = math.log(2 / delta)
    draws = certainty / p_teacher
    # Above 2^53 rounding up changes nothing, and an infinite number could not be rounded.
    return (math.log(math.ceil(draws) if draws < 2**53 else draws) + certainty) / eps


def teacher_complexity(
    student_widths: Sequence[int],
    teacher_widths: Sequence[int],
    n_levels: int,
    *,
    scaled_neurons: bool = False,
    kernel_sizes: Sequence[int] | None = None,
) -> float:
    r"""Bound the effective sample complexity $-\log \tilde p$ of a student for a teacher inside it.

    Vanilla layers: $\sum_l (d^*_l d_{l-1} + d^*_l) \log q$. Scaled neurons:
    $\sum_{l<L} (d^*_l d^*_{l-1} + 2 d_l) \log q + (d^*_L d^*_{L-1} + d_L) \log q$, without scales at the output. The
    products are multiplied by $k_l^2$ in a convolution of $k_l \times k_l$.

    Args:
        student_widths: Inputs, units (or channels) of each hidden layer, outputs.
        teacher_widths: Those of the teacher, none larger.
        n_levels: Values of a weight, zero among them.
        scaled_neurons: Whether hidden neurons have scales.
        kernel_sizes: Side of each layer's kernel; fully connected layers by default.

    Returns:
        The bound in nats.

    Raises:
        InvalidInputError: The teacher does not fit into the student, or has other inputs or outputs.

    Source: Buzaglo, Harel et al., How Uniform Random Weights Induce Non-uniform Bias (2024), main text, the bounds
    for vanilla and scaled-neuron fully connected and convolutional networks; the counts were derived again.

    >>> round(teacher_complexity((2, 3, 1), (2, 1, 1), 3) / math.log(3))
    7
    """
    check_count(n_levels, "n_levels", at_least=2)
    student, teacher = tuple(student_widths), tuple(teacher_widths)
    ends = student[:1] + student[-1:] == teacher[:1] + teacher[-1:]
    if len(student) != len(teacher) or len(student) < 2 or not ends:
        raise InvalidInputError(f"student {student} and teacher {teacher} need as many layers, inputs and outputs")
    if any(not 1 <= small <= large for small, large in zip(teacher, student, strict=True)):
        raise InvalidInputError(f"teacher {teacher} is wider than student {student}, or has an empty layer")
    n_layers = len(student) - 1
    kernels = (1,) * n_layers if kernel_sizes is None else tuple(kernel_sizes)
    if len(kernels) != n_layers:
        raise InvalidInputError(f"{len(kernels)} kernel sizes were given for {n_layers} layers; give one a layer")
    total = 0
    for layer, kernel in enumerate(kernels, start=1):
        check_count(kernel, "each kernel size")
        fan_in = teacher[layer - 1] if scaled_neurons else student[layer - 1]
        rest = (2 if layer < n_layers else 1) * student[layer] if scaled_neurons else teacher[layer]
        total += kernel**2 * teacher[layer] * fan_in + rest
    return total * math.log(n_levels)
