"""Inversion and retrieval: inputs from recovered embeddings.

Papers: reconstruction-transfer.
"""

from assay.reconstruction.embeddings.image_prior import (
    total_variation,
)
from assay.reconstruction.embeddings.inversion import (
    InversionResult,
    invert_embedding,
)
from assay.reconstruction.embeddings.retrieval import (
    RetrievalAudit,
    retrieval_audit,
)

__all__ = [
    "InversionResult",
    "RetrievalAudit",
    "invert_embedding",
    "retrieval_audit",
    "total_variation",
]
