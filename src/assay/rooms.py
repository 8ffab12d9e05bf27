"""The sixteen rooms of methods, declared once: names, questions, states, topics."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Room:
    """Describe a room: a package of methods, below `assay`.

    Args:
        name: The package's name.
        question: What the room's methods answer, or what it offers, as the README says it.
        state: ``"here"`` once the package exists, ``"planned"`` before.
        topics: Its folders, each one paper or a family of papers; what lies flat in the room has no topic.
    """

    name: str
    question: str
    state: Literal["here", "planned"]
    topics: tuple[str, ...] = ()


ALL_ROOMS = (
    Room(
        "reconstruction",
        "Which training samples can be recovered from the weights?",
        "here",
        topics=("embeddings", "kkt", "known_start", "scoring"),
    ),
    Room(
        "privacy",
        "Who was in the training set, what can be unlearned, whose model is it?",
        "here",
        topics=("condensation", "membership", "poisoning", "unlearning", "watermark"),
    ),
    Room(
        "adversarial",
        "How easily do small perturbations change the prediction?",
        "here",
        topics=("attacks", "logit_gaps", "minimal_norm", "subspace"),
    ),
    Room(
        "landscape",
        "How sharp is the minimum that training found?",
        "here",
        topics=("learning_rates", "opposing", "regions"),
    ),
    Room(
        "attribution",
        "Which inputs drive a prediction?",
        "here",
        topics=("causal_paths", "disparities", "faithfulness", "saliency"),
    ),
    Room(
        "generalization",
        "Why do networks that fit their training set do well on new data?",
        "here",
        topics=("capacity", "coherence", "double_descent", "instability", "interpolators", "subpopulations"),
    ),
    Room("theory", "What can be computed exactly?", "planned"),
    Room(
        "representation",
        "What do the layers of a network encode?",
        "here",
        topics=("cca", "diffusion_entropy", "information_plane", "latent_variables", "matching", "similarity"),
    ),
    Room("optim", "Optimisers", "planned"),
    Room("training", "Training methods", "planned"),
    Room("sequence", "Transformers and recurrent networks", "planned"),
    Room("generative", "Diffusion models and autoencoders", "planned"),
    Room("contrastive", "Learning without labels", "planned"),
    Room("transfer", "Transfer between tasks", "planned"),
    Room("compression", "Model compression", "planned"),
    Room("graph", "Graph neural networks", "planned"),
)

ROOMS = tuple(room.name for room in ALL_ROOMS if room.state == "here")
