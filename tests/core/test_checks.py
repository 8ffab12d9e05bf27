import pytest
import torch
from jaxtyping import config
from torch.utils.data import DataLoader, TensorDataset

from assay.core import (
    InvalidInputError,
    MissingExtraError,
    NumericalError,
    check_finite,
    check_fraction,
    check_labels,
    check_pairs,
    check_positive,
    check_samples,
    require_extra,
    seeded,
    signs,
)

INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.bool]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("column", [False, True])
def test_labels_of_any_integer_type_and_columns_come_back_as_a_vector_of_int64(dtype, column) -> None:
    given = torch.tensor([1, 0, 1]).to(dtype)
    labels = check_labels(given[:, None] if column else given, 2)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.tensor([0, 3]), r"0 to 3.*3 outputs.*0\.\.2"),
        (torch.tensor([0.0, 2.0]), r"integer.*use y\.long\(\)"),
        (torch.tensor([0.5, 2.0]), "regression"),
        (torch.eye(3), r"use y\.argmax\(1\)"),
        (torch.eye(3, dtype=torch.int64), r"use y\.argmax\(1\)"),
        (torch.zeros(2, 3, 3, dtype=torch.int64), "one label for each sample"),
        (torch.tensor(1), "one label for each sample"),
        (torch.tensor([0, -100]), r"-100.*x\[y != -100\] and y\[y != -100\]"),
        (torch.tensor([0, 255]), r"0 to 255.*ignore_index=255"),
        (torch.tensor([0, -1]), r"-1 to 0.*0\.\.2"),
        (torch.zeros(0, dtype=torch.int64), "no label"),
        ([0, 1], "got list; use torch.as_tensor"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_mend(y, message, monkeypatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    with pytest.raises(InvalidInputError, match=message):
        check_labels(y, 3)


def test_labels_of_minus_one_and_one_are_told_to_become_classes() -> None:
    with pytest.raises(InvalidInputError, match=r"\(y \+ 1\) // 2"):
        check_labels(torch.tensor([1, -1]), 2)


def test_class_labels_of_a_network_with_one_output_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"one score for each class.*torch\.zeros_like"):
        check_labels(torch.tensor([0, 1]), 1)


def test_labels_and_signs_work_under_vmap() -> None:
    y = torch.tensor([[0], [2]])
    assert torch.vmap(lambda label: check_labels(label, 3))(y).tolist() == y.tolist()
    for labels in (torch.tensor([[0], [1]]), torch.tensor([[-1.0], [1.0]])):
        assert torch.vmap(signs)(labels).flatten().tolist() == [-1, 1]
    assert torch.vmap(signs)(torch.tensor([[2]])).isnan().all()


@pytest.mark.parametrize("dtype", [*INTEGERS, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("column", [False, True])
def test_signs_of_labels_of_any_type(dtype, column) -> None:
    given = torch.tensor([0, 1, 0]).to(dtype)
    assert signs(given[:, None] if column else given).tolist() == [-1, 1, -1]
    if given.is_floating_point() or dtype.is_signed:
        assert signs(2 * given - 1).tolist() == [-1, 1, -1]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.tensor([0, 255], dtype=torch.uint8), r"got \[0, 255\]"),
        (torch.tensor([-1, 0, 1]), "0 and 1, or -1 and 1"),
        (torch.tensor([0.2]), "0 and 1, or -1 and 1"),
        (torch.eye(2), "vector"),
        ("01", "got str"),
    ],
)
def test_labels_that_are_not_binary_are_refused(y, message, monkeypatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    with pytest.raises(InvalidInputError, match=message):
        signs(y)


@pytest.mark.parametrize("check", [check_samples, lambda x: check_pairs(x, x)[0], lambda x: check_pairs(x, x)[1]])
def test_samples_come_back_without_a_graph_and_ready_for_autograd(check) -> None:
    x = torch.randn(4, 3, generator=seeded(0)).requires_grad_()
    assert check(x * 2).is_leaf
    assert not check(x).requires_grad
    with torch.inference_mode():
        inside = torch.ones(4, 3)
        for given in (inside, x):
            again = check(given)
            assert not again.is_inference()
            with torch.inference_mode(False), torch.enable_grad():
                again.requires_grad_().square().sum().backward()
    outside = check(inside).requires_grad_()
    outside.sum().backward()
    assert torch.equal(outside.grad, torch.ones(4, 3))


def test_tokens_pass_where_they_are_asked_for_only() -> None:
    tokens = torch.zeros(2, 5, dtype=torch.int32)
    assert check_samples(tokens, tokens=True).dtype == torch.int32
    assert check_pairs(tokens, tokens, tokens=True)[0].shape == (2, 5)
    with pytest.raises(InvalidInputError, match="embeddings"):
        check_pairs(tokens, tokens)
    with pytest.raises(InvalidInputError, match="floating point"):
        check_samples(tokens.bool(), tokens=True)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.ones(2, 3), torch.ones(3), "one target for each of the 2 samples"),
        (torch.ones(2, 3), torch.tensor(1), "one target for each of the 2 samples"),
        (torch.ones(2, 3), torch.tensor([0.0, float("nan")]), "y holds NaN"),
        (torch.ones(2, 3), torch.ones(2, 0), "no values"),
        (torch.ones(2, 3), torch.ones(2) * 1j, "y must be real"),
        (torch.ones(2, 3), [0, 1], "y must be a torch.Tensor, got list"),
        (torch.ones(2, 3), torch.ones(2, device="meta"), "y lies on the meta device"),
        (torch.ones(2, 3, device="meta"), torch.ones(2), "x lies on the meta device"),
        (torch.ones(2, 3).to_sparse(), torch.ones(2), "x must be a dense tensor.*to_dense"),
        (torch.ones(2, 3) * 1j, torch.ones(2), "view_as_real"),
        (DataLoader(TensorDataset(torch.ones(2, 3))), torch.ones(2), "got DataLoader; collect its samples"),
        (torch.ones(2, 3).numpy(), torch.ones(2), "got ndarray; use torch.as_tensor"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused_in_a_sentence(x, y, message, monkeypatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    with pytest.raises(InvalidInputError, match=message):
        check_pairs(x, y)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 2, dtype=torch.int64), "floating point"),
        (torch.zeros(3), "batch"),
        (torch.zeros(0, 3), "non-empty"),
        (torch.full((1, 1), float("inf")), "infinite"),
    ],
)
def test_samples_must_be_a_batch_of_finite_floats(x: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_samples(x)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_positive_numbers(value: float) -> None:
    with pytest.raises(InvalidInputError, match="eps"):
        check_positive(value, "eps")


def test_fractions_results_and_extras() -> None:
    check_fraction(0.5, "level")
    with pytest.raises(InvalidInputError, match="level"):
        check_fraction(1.0, "level")
    with pytest.raises(NumericalError, match="the score"):
        check_finite(torch.tensor([1.0, float("nan")]), "the score")
    with pytest.raises(MissingExtraError, match=r"assay\[ray\]"):
        require_extra("no_such_module", "ray")
