"""Gazes to messages and messages to NumPy."""

from __future__ import annotations

import array
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogaze_ros.msg import Fixation, FixationArray, GazeMask, MaskLayer

from ..gaze.gaze_frame import GazeFrame
from ..gaze.masks import MaskStyle
from ..gaze.rows import FIXATION_DTYPE


class FixationWriter:
    """Writes gazes as messages, and keeps the parts that do not change from frame to frame.

    A token's place is the same in every frame of one size, so each token's message is made once and only
    its confidence and predicted loss are set anew. The fixations of a message are therefore good until the
    next one is written: publish it first.
    """

    def __init__(self) -> None:
        self._tiling: object = None
        self._made: dict[tuple[int, int], Any] = {}

    def write(self, gaze: GazeFrame, header: Any) -> FixationArray:
        """The message of a gaze under the header of its image."""
        if gaze.tiling != self._tiling:
            self._tiling, self._made = gaze.tiling, {}
        fixations = []
        columns = (gaze.tiles, gaze.ids, gaze.confidence, gaze.predicted_losses)
        for index, (tile, token, confidence, loss) in enumerate(
            zip(*(c.tolist() for c in columns), strict=True)
        ):
            fixation = self._made.get((tile, token))
            if fixation is None:
                fixation = self._made[tile, token] = _place(gaze, index)
            fixation.confidence = confidence
            fixation.predicted_loss = loss
            fixations.append(fixation)
        return FixationArray(header=header, fixations=fixations, **gaze.array_fields())


def _place(gaze: GazeFrame, index: int) -> Fixation:
    """The message of one of a gaze's fixations, without what changes from frame to frame."""
    scale, grid, row, col = gaze.layout.table[gaze.ids[index]].tolist()
    x0, y0, x1, y1 = gaze.boxes[index].tolist()
    center_x, center_y, size_x, size_y = gaze.cells[index].tolist()
    return Fixation(
        tile=int(gaze.tiles[index]), token_id=int(gaze.ids[index]), scale=scale, grid=grid, row=row, col=col,
        x0=x0, y0=y0, x1=x1, y1=y1, center_x=center_x, center_y=center_y, size_x=size_x, size_y=size_y,
    )  # fmt: skip


def fixations_to_numpy(message: FixationArray) -> NDArray[Any]:
    """(N,) structured array of :data:`FIXATION_DTYPE`, one row a fixation."""
    rows = [
        tuple(getattr(fixation, name) for name in FIXATION_DTYPE.names or ())
        for fixation in message.fixations
    ]
    return np.array(rows, FIXATION_DTYPE)


def fixations_from_numpy(rows: NDArray[Any]) -> list[Fixation]:
    """Fixation messages of a structured array of :data:`FIXATION_DTYPE`."""
    names = FIXATION_DTYPE.names or ()
    return [Fixation(**dict(zip(names, row, strict=True))) for row in rows.astype(FIXATION_DTYPE).tolist()]


def mask_message(gaze: GazeFrame, style: MaskStyle, header: Any) -> GazeMask:
    """The mask of a gaze in one of the styles, one packed bitmap a layer."""
    layers = mask_layers_from_numpy(gaze.bitmaps(style))
    return GazeMask(header=header, layers=layers, **gaze.mask_fields(style))


def mask_layers_from_numpy(bitmaps: list[NDArray[np.bool_]]) -> list[MaskLayer]:
    """Layers of (rows, cols) bool bitmaps."""
    return [
        MaskLayer(
            rows=bitmap.shape[0], cols=bitmap.shape[1], bits=array.array("B", np.packbits(bitmap).tobytes())
        )
        for bitmap in bitmaps
    ]


def mask_to_numpy(message: GazeMask) -> list[NDArray[np.bool_]]:
    """The (rows, cols) bool bitmap of each layer.

    Raises:
        ValueError: a layer with too few bits.
    """
    bitmaps = []
    for layer in message.layers:
        count = layer.rows * layer.cols
        bits = np.asarray(layer.bits, np.uint8)
        if bits.size * 8 < count:
            raise ValueError(
                f"a {layer.rows} x {layer.cols} mask layer needs {-(-count // 8)} bytes, got {bits.size}"
            )
        bitmaps.append(np.unpackbits(bits, count=count).astype(bool).reshape(layer.rows, layer.cols))
    return bitmaps


def mask_to_pixels(message: GazeMask) -> NDArray[np.uint8]:
    """(height, width) uint8: 255 in the source pixels that the mask's cells touch, as ``~/mask_image``.

    Raises:
        ValueError: a layer with too few bits.
    """
    image = np.zeros((message.height, message.width), np.uint8)
    for bitmap in mask_to_numpy(message):
        rows, cols = bitmap.shape[0] // message.tile_rows, bitmap.shape[1] // message.tile_cols
        high, wide = message.tile_height / rows, message.tile_width / cols
        for row, col in np.argwhere(bitmap).tolist():
            top = row // rows * message.tile_step_y + row % rows * high
            left = col // cols * message.tile_step_x + col % cols * wide
            # A millionth of a pixel, so that a cell that ends on a pixel's edge stays out of the next pixel.
            y0, y1 = math.floor(top + 1e-6), math.ceil(top + high - 1e-6)
            x0, x1 = math.floor(left + 1e-6), math.ceil(left + wide - 1e-6)
            image[y0:y1, x0:x1] = 255
    return image
