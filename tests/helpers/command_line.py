"""A network to audit from the command line: as a subject's file, as a factory."""

import os
import subprocess
import sys
from pathlib import Path

import assay

PYTHON = "import sys; from assay.cli import main; sys.exit(main())"
NETWORK = "nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))"
FACTORY = f"from torch import nn\ndef network(): return {NETWORK}\n"
SUBJECT = f"""
import torch
from torch import nn
from assay.audit import Subject
from assay.core import cross_entropy

network = {NETWORK}.eval()
x, y = torch.full((6, 1, 4, 4), 0.5), torch.tensor([0, 1, 2] * 2)
given = dict(model=network, loss=cross_entropy, train=(x, y))

def subject():
    return Subject(**given)
"""


def environment():
    """Return the environment of a process that imports this package."""
    return os.environ | {"PYTHONPATH": str(Path(assay.__file__).parents[1])}


def assay_in_a_process(*arguments, program=PYTHON, **options):
    """Run the command line in a process and return how it ended."""
    usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, text=True, check=False, **(usual | options))


def change(folder, line):
    """Write a subject like mine.py with one line more, and return its name."""
    (folder / "changed.py").write_text(SUBJECT.replace("def subject", f"{line}\n\ndef subject"))
    return "changed.py"
