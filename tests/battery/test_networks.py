"""Every network that users have, at every entry: the answer of an independent network, or one sentence that refuses.

The table of networks is in `helpers.networks`, that of entries in `helpers.entries`; what must answer and what must
refuse is in `helpers.expectations`. Not marked slow is one entry a family for every network, and every entry for some.
"""

from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, named_parameters, predict
from helpers.edges import CALLERS, LABELS, LOSSES, at_edge, judge_edge, plain_answer
from helpers.entries import ENTRIES, Entry
from helpers.expectations import AS_IT_IS, PARTS, STACKS, THEORY, WEIGHTS_ONLY, applies
from helpers.networks import NETWORKS, Network
from helpers.user_networks import prepares
from helpers.verdicts import judge

FAMILIES = (
    "APGD",
    "ClassWiseGradientMatching",
    "DirectAttack",
    "FGSM",
    "GaussNewtonOperator",
    "HessianOperator",
    "KKTReconstructor",
    "PGD",
    "StackedTrainer",
    "WitchesBrew",
    "fit",
    "gradient_covariance_alignment",
    "hessian_spectrum",
    "hessian_vector_product",
    "input_gradient",
    "inspect_model",
    "jacobian_vector_product",
    "linear_path",
    "linear_response_error",
    "mean_loss",
    "off_subspace_gradient",
    "output_jacobian",
    "parameter_gradients",
    "per_sample_gradient_norms",
    "per_sample_gradients",
    "predict",
    "robust_accuracy",
    "smoothed_trigger_accuracy",
    "stationarity_residual",
    "token_logits",
    "unlearn",
    "vector_jacobian_product",
)
"""One entry a family, or a few."""

WHOLE = ("plain",)
"""Networks that are tried at every entry but the audit's probes, which are slow."""

DENSE = (
    "GaussNewtonOperator",
    "HessianOperator",
    "gradient_covariance_alignment",
    "hessian_spectrum",
    "output_jacobian",
)
"""What takes seconds where there are a thousand outputs and as many parameters."""


def cell(first, entry):
    """Name one cell; it is slow unless its entry stands for a family."""
    quick = entry.name in FAMILIES and not (first.name == "1000 classes" and entry.name in DENSE)
    slow = [] if quick or (first.name in WHOLE and not entry.name.startswith("probe ")) else [pytest.mark.slow]
    return pytest.param(first, entry, id=f"{first.name}-{entry.name}", marks=slow)


CELLS = [cell(network, entry) for network in NETWORKS for entry in ENTRIES if applies(entry, network)]
AT_EDGES = [cell(edge, entry) for edge in (*CALLERS, *LABELS, *LOSSES) for entry in ENTRIES if at_edge(edge, entry)]

DROPOUT = next(network for network in NETWORKS if network.name == "dropout")


@pytest.mark.parametrize(("network", "entry"), CELLS)
def test_a_network_is_understood_or_refused_in_a_sentence(network, entry):
    verdict = judge(entry, network)
    assert verdict.status != "failed", f"{verdict.reason} ({verdict.where})"


@pytest.mark.parametrize(("edge", "entry"), AT_EDGES)
def test_no_answer_depends_on_the_callers_state_or_on_the_form_of_labels_and_loss(edge, entry):
    verdict = judge_edge(edge, entry, plain_answer(edge, entry))
    assert verdict.status != "failed", f"{verdict.reason} ({verdict.where})"


@pytest.mark.parametrize("name", sorted({*FAMILIES, *WEIGHTS_ONLY, *PARTS, *AS_IT_IS, *THEORY, *STACKS}))
def test_a_name_with_a_rule_of_its_own_is_an_entry(name):
    assert name in {entry.name for entry in ENTRIES}


# --- Proof that a cell can fail: entries that do one thing wrong each -----------------------------------------------


def scores(given):
    return {"scores": predict(given.model, given.x)}


def writes_weights(given):
    named_parameters(given.model)["0.bias"].add_(1)
    return scores(given)


def writes_inputs(given):
    given.x.mul_(1)
    given.x[0] += 1
    return scores(given)


def leaves_training_mode(given):
    found = scores(given)
    given.model.train()
    return found


def leaves_a_hook(given):
    given.model.register_forward_hook(lambda *_: None)
    return scores(given)


def breaks(given):
    raise RuntimeError("vmap: randomness\nof course")


def refuses(text, given):
    raise InvalidInputError(text)


def differs_with_dropout(given):
    away = sum(isinstance(module, nn.Dropout) for module in given.model.modules())
    return {"scores": scores(given)["scores"] + away}


MISBEHAVED = {
    "are not close": differs_with_dropout,
    "carries a graph": lambda given: {"scores": given.model(given.x)},
    "is NaN": lambda given: {"scores": scores(given)["scores"] * float("nan")},
    "changed: parameters": writes_weights,
    "changed: inputs": writes_inputs,
    "changed: modes": leaves_training_mode,
    "changed: hooks": leaves_a_hook,
    "no figure": lambda given: {},
    "RuntimeError: vmap: randomness": breaks,
    "not one sentence": partial(refuses, "x holds NaN;\nclean the data"),
    "without a mend": partial(refuses, "no"),
    "refuses, where it can answer": partial(refuses, "x holds NaN; clean the data"),
}


@pytest.mark.parametrize("says", MISBEHAVED)
def test_what_an_entry_does_wrong_is_noticed(says):
    verdict = judge(Entry("a stand-in", "assay.core", MISBEHAVED[says]), DROPOUT)
    assert verdict.status == "failed"
    assert says in verdict.reason


def test_an_entry_that_behaves_answers():
    assert judge(Entry("a stand-in", "assay.core", scores), DROPOUT).status == "answered"


def test_what_is_wrong_on_every_network_is_noticed_by_hand():
    wrong = Entry("predict", "assay.core", lambda given: {"answer": scores(given)["scores"] + 0.1})
    assert "are not close" in judge(wrong, DROPOUT).reason


def test_an_answer_where_none_can_be_right_is_noticed():
    noise = Network("noise", prepares(lambda x: x + torch.rand_like(x)), refused="always")
    verdict = judge(Entry("a stand-in", "assay.core", lambda given: {"scores": given.x}), noise)
    assert verdict.reason == "answers, where it must refuse"


def test_an_entry_that_depends_on_the_callers_state_is_noticed():
    entry = Entry("a stand-in", "assay.core", lambda given: {"scores": given.x * torch.is_grad_enabled()})
    edge = next(edge for edge in CALLERS if edge.name == "inside no_grad")
    assert "are not close" in judge_edge(edge, entry, plain_answer(edge, entry)).reason
