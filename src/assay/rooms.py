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
        topics=("embeddings", "kkt", "scoring"),
    ),
    Room(
        "privacy",
        "Who was in the training set, what can be unlearned, whose model is it?",
        "here",
        topics=("condensation", "membership", "poisoning", "unlearning", "watermark"),
    ),
    Room(
        "adversarial",
        "How easily do small perturbations change the answer?",
        "here",
        topics=("attacks", "logit_gaps", "subspace"),
    ),
    Room("landscape", "How does the loss curve where training landed?", "here"),
    Room("attribution", "What does the network look at?", "planned"),
    Room("generalization", "Why does it do well on new data?", "planned"),
    Room("theory", "What can be computed exactly?", "planned"),
    Room("representation", "What do its layers encode?", "planned"),
    Room("optim", "Optimisers", "planned"),
    Room("training", "Ways to train", "planned"),
    Room("sequence", "Transformers and recurrent networks", "planned"),
    Room("generative", "Diffusion models and autoencoders", "planned"),
    Room("contrastive", "Learning without labels", "planned"),
    Room("transfer", "From one task to another", "planned"),
    Room("compression", "Smaller networks", "planned"),
    Room("graph", "Networks on graphs", "planned"),
)

ROOMS = tuple(room.name for room in ALL_ROOMS if room.state == "here")
