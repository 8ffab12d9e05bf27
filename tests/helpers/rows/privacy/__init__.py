"""The rows of `assay.privacy`, a file a topic."""

from helpers.rows.privacy import condensation, membership, poisoning, unlearning, watermark

ROWS = (*membership.ROWS, *condensation.ROWS, *poisoning.ROWS, *watermark.ROWS, *unlearning.ROWS)
