"""The answer to one frame: which cells were gazed at, and what that cost and gave."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .masks import Coverage, MaskStyle, bitmaps, cover, styled_boxes
from .metrics import loss_from_psnr
from .tokens import FloatArray, IntArray, TokenLayout


@dataclass(frozen=True)
class GazeFrame:
    """One frame's gaze in source pixels. The arrays have one row a fixation, in the order of choice."""

    #: nanoseconds, the image's own
    stamp: int
    #: source image in pixels
    width: int
    height: int
    source: str
    model: str
    layout: TokenLayout
    #: frames since the last reset, 0 for the first
    frame_index: int
    #: the source started afresh with this frame
    keyframe: bool
    #: why: "start", "interval", "request", "stamp", "size", "encoding", "cut", "gap", "error" (the
    #: frame before failed); empty where not a keyframe
    keyframe_cause: str
    #: (N,) int32 token ids within the frame
    ids: IntArray
    #: (N, 4) int32 x0, y0, x1, y1 in source pixels, upper bounds exclusive
    boxes: IntArray
    #: (N,) float32, 0..1
    confidence: FloatArray
    #: (N,) float32, NaN where not predicted
    predicted_losses: FloatArray
    #: dB of the token reconstruction against this frame at the working size; inf where identical
    psnr: float

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def coverage(self) -> Coverage:
        """The covered pixels."""
        return cover(self.boxes, self.width, self.height)

    @property
    def token_ratio(self) -> float:
        """Tokens chosen / tokens a frame has, 0..1."""
        return len(self.ids) / self.layout.count

    @cached_property
    def gaze_ratio(self) -> float:
        """Pixels inside the gazed cells / all pixels, 0..1."""
        return self.coverage.ratio

    @property
    def update_ratio(self) -> float:
        """Pixels written into the reconstruction / all pixels, 0..1: everything on a keyframe."""
        return 1.0 if self.keyframe else self.gaze_ratio

    @property
    def predicted_loss(self) -> float:
        """Loss that the source expects after its last token; NaN where it predicts none."""
        return float(self.predicted_losses[-1]) if len(self.predicted_losses) else float("nan")

    @property
    def measured_loss(self) -> float:
        """Root mean square error of the token reconstruction, 0..1 of full scale."""
        return loss_from_psnr(self.psnr)

    def bitmaps(self, style: MaskStyle = "native") -> list[NDArray[np.bool_]]:
        """The mask as bool grids, coarse to fine; see :func:`autogaze_ros.gaze.masks.bitmaps`."""
        return bitmaps(self.layout, self.ids, self.boxes, (self.width, self.height), style)

    def mask_image(self, style: MaskStyle = "native") -> NDArray[np.uint8]:
        """(H, W) uint8: 255 in the pixels of the style's cells, 0 elsewhere."""
        if style != "effective":  # the other two have the same pixels
            return self.coverage.image()
        return cover(
            styled_boxes(self.layout, self.ids, self.boxes, (self.width, self.height), style),
            self.width,
            self.height,
        ).image()
