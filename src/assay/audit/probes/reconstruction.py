"""Which training samples can be recovered from the weights alone?"""

import torch
from torch import Tensor

from assay.audit.pictures import is_image, sample_picture, stretch
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import InvalidInputError, binary_cross_entropy, cross_entropy
from assay.reconstruction import KKTReconstructor, score_reconstructions

_CLEAR, _VISIBLE = 0.9, 0.75  # correlation with a training image: hard to tell apart; recognisable
_MARGIN = 3
_SHOWN = 30

_RULE = (
    f"A training sample counts as recovered when a candidate correlates with it above {_CLEAR} (NCC, the correlation of "
    "the two images). High: at least "
    f"{_MARGIN} more samples are recovered than either null reaches, and twice as many. Medium: the same at "
    f"{_VISIBLE}. Low: any more than the nulls at {_VISIBLE}. Otherwise info."
)
