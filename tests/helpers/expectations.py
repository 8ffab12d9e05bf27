"""Which cells of the networks' battery must answer, must refuse, or may do either."""

from helpers.entries import Entry
from helpers.networks import Network, words

WEIGHTS_ONLY = (
    "InitialState",
    "assign_parameters",
    "compress_first_layer",
    "guess_initial_state",
    "initial_network",
    "merge_parallel_units",
    "parameter_distance",
    "project_parameters",
    "start_share",
    "universal_off_subspace_direction",
)
"""What reads weights, and asks nothing of the outputs."""

PARTS = (
    "ClassWiseGradientMatching",
    "canary_objective",
    "first_layer_inputs",
    "functional",
    "gradient_alignment_loss",
    "input_gradient",
    "inspect_model",
    "parameter_gradients",
    "penultimate_features",
    "preserved",
    "reversed_objective",
    "simulate_training",
    "token_logits",
    "with_surrogate_relu",
)
"""What methods are built from: they run the network as it is, in whatever state the caller holds it."""

AS_IT_IS = ("canary_objective", "functional", "input_gradient", "preserved", "reversed_objective", "token_logits")
"""Those parts that hand on what the network itself says of a call that it cannot take."""

THEORY = (
    "KKTReconstructor",
    "KnownStartReconstructor",
    "build_assistant",
    "causal_saliency",
    "find_causal_graph",
    "graph_stability",
    "graph_faithfulness",
    "mask_model",
    "path_intervention_effect",
    "removal_curve",
    "probe explanation_gap",
    "probe latent_variables",
    "probe saliency",
    "SimulatedDynamicsReconstructor",
    "compress_first_layer",
    "dense_head",
    "exact_samples",
    "first_layer_inputs",
    "guess_initial_state",
    "interval_bounds",
    "interval_certificate",
    "merge_parallel_units",
    "oracle_multipliers",
    "predicted_multipliers",
    "probe initial_weights",
    "probe logit_gaps",
    "probe reconstruction",
    "stationarity_residual",
    "train_in_span",
    "universal_off_subspace_direction",
    "with_surrogate_relu",
)
"""What holds for some networks only, as for perceptrons of ReLUs, stacks of blocks or networks that are right on some
samples, and says so of the others."""

STACKS = ("ShadowEnsemble", "StackedTrainer", "evaluate_poison")
"""What trains several networks as one, and sends those that it cannot to another trainer."""

OF_TOKENS = (
    "assay.core",
    "assay.landscape",
    "assay.audit.probes.curvature",
    "assay.audit.probes.learning_rate",
    "assay.privacy.membership.direct",
)
"""What asks no derivative in the inputs, and so takes tokens."""

BETWEEN_SAMPLES = ("assay.landscape.regions",)
"""What evaluates the network between samples, where there are no tokens."""


THROUGH_LOGARITHM = ("robust_accuracy",)
"""What takes probabilities through their logarithm, and says so."""

THROUGH_EXPECTATION = ("robust_accuracy",)
"""What takes a network that draws random numbers through the mean over draws, and says so."""


def applies(entry: Entry, network: Network) -> bool:
    """Tell whether there is a cell: language models have entries of their own."""
    if entry.name == "Square" and network.name == "float32":  # rounding decides which way a random search goes
        return False
    return entry.language == network.language and not (
        network.refused in ("always", "but to audit") and entry.name in AS_IT_IS
    )


def _averages(entry: Entry, network: Network) -> bool:
    return network.random and entry.name in THROUGH_EXPECTATION


def must_refuse(entry: Entry, network: Network) -> bool:
    """Tell whether an answer would be wrong whatever it is."""
    if entry.name in WEIGHTS_ONLY + PARTS or _averages(entry, network):
        return False
    if network.probabilities and entry.name not in THROUGH_LOGARITHM:
        return entry.room.startswith(("assay.adversarial", "assay.privacy.membership.canary")) and not entry.trains
    if network.refused == "but to audit":
        return not entry.room.startswith("assay.audit")
    return network.refused == "always" or (network.refused == "but to train" and not entry.trains)


def must_answer(entry: Entry, network: Network) -> bool:
    """Tell whether a refusal would be a gap."""
    if _averages(entry, network):
        return True
    refused = network.refused and not (network.refused == "but to audit" and entry.room.startswith("assay.audit"))
    if refused or network.probabilities or entry.name in THEORY + STACKS:
        return False
    if network.frozen and entry.trains:
        return False
    if network.fatal and entry.room.startswith("assay.audit"):
        return False
    of_tokens = entry.room.startswith(OF_TOKENS) and entry.name != "input_gradient"  # integers have none
    of_tokens = of_tokens and not entry.room.startswith(BETWEEN_SAMPLES)
    if network.inputs is words and not network.language and not of_tokens:
        return False
    return not (network.classes == 2 and not entry.chooses_loss)
