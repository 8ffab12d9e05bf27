"""The battery's rows: one for each public method that takes a model.

To add a method, add a row to the file of its room. A row's `run` is the plain call, with every answer that matters
brought into named tensors. A new room is a file of its own, joined here.
"""

from helpers.rows import adversarial, core, landscape, privacy, reconstruction
from helpers.rows.base import Row

ROWS: tuple[Row, ...] = (*core.ROWS, *landscape.ROWS, *adversarial.ROWS, *reconstruction.ROWS, *privacy.ROWS)
