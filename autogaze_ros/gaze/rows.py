"""Fixations as rows of a table: what the messages, the tables of a replay and NumPy users share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gaze_frame import GazeFrame

#: One row a fixation, fields and types as in msg/Fixation.msg and without gaps between them: the bytes of
#: rows are also the little-endian CDR of a sequence of fixations.
FIXATION_DTYPE = np.dtype(
    [
        ("tile", "<u2"),
        ("token_id", "<u2"),
        ("scale", "u1"),
        ("grid", "u1"),
        ("row", "u1"),
        ("col", "u1"),
        ("x0", "<u4"),
        ("y0", "<u4"),
        ("x1", "<u4"),
        ("y1", "<u4"),
        ("center_x", "<f4"),
        ("center_y", "<f4"),
        ("size_x", "<f4"),
        ("size_y", "<f4"),
        ("confidence", "<f4"),
        ("predicted_loss", "<f4"),
    ]
)


def fixation_rows(gaze: GazeFrame) -> NDArray[Any]:
    """(N,) structured array of :data:`FIXATION_DTYPE` of a gaze, in the order of choice."""
    rows = np.empty(len(gaze), FIXATION_DTYPE)
    rows["tile"], rows["token_id"] = gaze.tiles, gaze.ids
    for name, column in zip(("scale", "grid", "row", "col"), gaze.layout.table[gaze.ids].T, strict=True):
        rows[name] = column
    for name, column in zip(("x0", "y0", "x1", "y1"), gaze.boxes.T, strict=True):
        rows[name] = column
    for name, column in zip(("center_x", "center_y", "size_x", "size_y"), gaze.cells.T, strict=True):
        rows[name] = column
    rows["confidence"], rows["predicted_loss"] = gaze.confidence, gaze.predicted_losses
    return rows
