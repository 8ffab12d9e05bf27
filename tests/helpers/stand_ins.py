"""Small subjects, findings and probes that stand in for real ones."""

import torch
from torch import nn

from assay.audit import Figure, Finding, Picture, Probe, Subject, Table
from assay.core import cross_entropy, seeded, squared_error

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080000000"
    "03a7e9b550000000a49444154789c63680000008200816eaf5ba40000000049454e44ae426082"
)


def small_network(*, outputs=3, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, outputs)).eval()


def small_subject(**changes):
    """Return a healthy subject of three classes and 4 x 4 images, with some of its parts changed."""
    draw = seeded(0)
    given = {
        "model": small_network(),
        "loss": cross_entropy,
        "train": (torch.rand(6, 1, 4, 4, generator=draw), torch.tensor([0, 1, 2, 0, 1, 2])),
        "test": (torch.rand(5, 1, 4, 4, generator=draw), torch.tensor([0, 1, 2, 2, 1])),
        "class_names": ("red", "green", "blue"),
        "name": "small",
    }
    return Subject(**(given | changes))


def small_regression(**changes):
    """Return the healthy subject with a target for each of its outputs, and the squared error."""
    draw = seeded(1)
    images = {"train": small_subject().train[0], "test": small_subject().test[0]}
    parts = {part: (x, torch.rand(len(x), 3, generator=draw)) for part, x in images.items()}
    return small_subject(**({"loss": squared_error, "class_names": ()} | parts | changes))


def a_finding(severity="info", **changes):
    picture = Picture("dot", PIXEL, "png", alt="A single dot")
    given = {
        "headline": "Two of six.",
        "severity": severity,
        "rule": "By decree.",
        "advice": "Rest.",
        "limits": "Nothing.",
        "measures": {"count": 2.0},
        "figures": (Figure((picture,), "A dot", tile=True),),
        "tables": (Table("Counts", ("what", "n"), (("dots", 2),)),),
    }
    return Finding(**(given | changes))


def a_probe(name, run, needs=(), **options):
    return Probe(name, f"What does {name} say?", "training", frozenset(needs), run, **options)
