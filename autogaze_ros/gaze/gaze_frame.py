"""The answer to one frame: which cells were gazed at, and what that cost and gave."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .masks import MASK_STYLES, Coverage, MaskStyle, cover, deduplicate, effective_bitmap, scale_bitmaps
from .metrics import loss_from_psnr
from .tiling import Tiling
from .tokens import FloatArray, IntArray, TokenLayout


@dataclass(frozen=True)
class GazeFrame:
    """One frame's gaze in source pixels. The arrays have one row a fixation, in the order of choice."""

    #: nanoseconds, the image's own
    stamp: int
    source: str
    model: str
    #: the windows that the frame was looked at through; one where it was looked at as a whole
    tiling: Tiling
    #: frames since the last reset, 0 for the first
    frame_index: int
    #: the source started afresh with this frame
    keyframe: bool
    #: why: "start", "interval", "request", "stamp", "size", "encoding", "cut", "gap", "error" (the
    #: frame before failed); empty where not a keyframe
    keyframe_cause: str
    #: (N,) int32 window of each token, row by row; all 0 where there is one
    tiles: IntArray
    #: (N,) int32 token ids within the window
    ids: IntArray
    #: (N, 4) int32 x0, y0, x1, y1 in source pixels, upper bounds exclusive
    boxes: IntArray
    #: (N,) float32, 0..1
    confidence: FloatArray
    #: (N,) float32 loss expected before each token, in the model's own unit; NaN where not predicted
    predicted_losses: FloatArray
    #: dB of the token reconstruction against this frame at the working size; inf where identical
    psnr: float
    #: frames since the pipeline was made, whatever started afresh in between
    sequence: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def layout(self) -> TokenLayout:
        """The grids of a window."""
        return self.tiling.layout

    @property
    def width(self) -> int:
        """Of the source image, in pixels."""
        return self.tiling.width

    @property
    def height(self) -> int:
        """Of the source image, in pixels."""
        return self.tiling.height

    @cached_property
    def coverage(self) -> Coverage:
        """The covered pixels."""
        return cover(self.boxes, self.width, self.height)

    @property
    def token_ratio(self) -> float:
        """Tokens chosen / tokens a frame has, 0..1."""
        return len(self.ids) / (self.layout.count * self.tiling.count)

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
        """Loss that the source expected before the last token; NaN where it predicts none or there is no token."""
        return float(self.predicted_losses[-1]) if len(self.predicted_losses) else float("nan")

    @property
    def measured_loss(self) -> float:
        """Root mean square error of the token reconstruction, 0..1 of full scale."""
        return loss_from_psnr(self.psnr)

    @cached_property
    def scales(self) -> IntArray:
        """(N,) int32 scale index of each token, 0 is the coarsest."""
        return self.layout.locate(self.ids)[:, 0]

    @cached_property
    def cells(self) -> FloatArray:
        """(N, 4) float32: centre x, centre y, width and height of the exact cells in units of the image."""
        return self.tiling.cells(self.tiles, self.ids)

    @property
    def unit_boxes(self) -> NDArray[np.float64]:
        """(N, 4) float64 x0, y0, x1, y1 of each box in units of the image, 0..1."""
        return self.boxes / np.array([self.width, self.height] * 2, np.float64)

    def bitmaps(self, style: MaskStyle = "native") -> list[NDArray[np.bool_]]:
        """The mask as bool grids of (rows, cols), coarse to fine.

        ``native`` and ``deduplicated`` give one grid a scale, ``effective`` one grid of the finest scale. Of a
        tiled frame the windows' grids lie side by side.

        Raises:
            ValueError: another style.
        """
        keep = np.ones(len(self), bool)
        if style == "deduplicated":
            keep = deduplicate(self.boxes, self.width, self.height)
        elif style not in MASK_STYLES:
            raise ValueError(f"mask style must be one of {', '.join(MASK_STYLES)}, got {style!r}")
        grids = self.layout.grids[-1:] if style == "effective" else self.layout.grids
        rows, cols = self.tiling.rows, self.tiling.cols
        layers = [np.zeros((rows, grid, cols, grid), bool) for grid in grids]
        for tile in np.unique(self.tiles).tolist():
            ids = self.ids[keep & (self.tiles == tile)]
            window = (
                [effective_bitmap(self.layout, ids)]
                if style == "effective"
                else scale_bitmaps(self.layout, ids)
            )
            for layer, bitmap in zip(layers, window, strict=True):
                layer[tile // cols, :, tile % cols] = bitmap
        return [layer.reshape(rows * layer.shape[1], cols * layer.shape[3]) for layer in layers]

    def array_fields(self) -> dict[str, Any]:
        """What a FixationArray message says besides header and fixations, by field name."""
        return {
            "width": self.width, "height": self.height,
            "tile_rows": self.tiling.rows, "tile_cols": self.tiling.cols,
            "source": self.source, "model": self.model,
            "frame_index": self.frame_index % 2**32, "keyframe": self.keyframe,
            "token_ratio": self.token_ratio, "gaze_ratio": self.gaze_ratio, "update_ratio": self.update_ratio,
            "predicted_loss": self.predicted_loss, "measured_loss": self.measured_loss, "psnr": self.psnr,
        }  # fmt: skip

    def mask_fields(self, style: MaskStyle) -> dict[str, Any]:
        """What a GazeMask message says besides header and layers, by field name."""
        width, height, step_x, step_y = self.tiling.window
        return {
            "width": self.width, "height": self.height, "style": style,
            "tile_rows": self.tiling.rows, "tile_cols": self.tiling.cols,
            "tile_width": width, "tile_height": height, "tile_step_x": step_x, "tile_step_y": step_y,
        }  # fmt: skip

    def styled_boxes(self, style: MaskStyle = "native") -> tuple[IntArray, IntArray]:
        """The cells of a style for drawing: (M, 4) boxes and (M,) scale indices, coarse before fine.

        Raises:
            ValueError: another style.
        """
        if style == "effective":
            (bitmap,) = self.bitmaps(style)
            row, col = np.nonzero(bitmap)
            grid = self.layout.grids[-1]
            tiles = row // grid * self.tiling.cols + col // grid
            boxes = self.tiling.boxes(tiles, self.layout.offsets[-1] + row % grid * grid + col % grid)
            boxes = boxes[(boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])]
            return boxes, np.full(len(boxes), len(self.layout.grids) - 1, np.int32)
        chosen = np.arange(len(self))
        if style == "deduplicated":
            chosen = chosen[deduplicate(self.boxes, self.width, self.height)]
        elif style not in MASK_STYLES:
            raise ValueError(f"mask style must be one of {', '.join(MASK_STYLES)}, got {style!r}")
        chosen = chosen[np.argsort(self.scales[chosen], kind="stable")]
        return self.boxes[chosen], self.scales[chosen]

    def mask_image(self, style: MaskStyle = "native") -> NDArray[np.uint8]:
        """(H, W) uint8: 255 in the pixels of the style's cells, 0 elsewhere."""
        if style != "effective":  # the other two have the same pixels
            return self.coverage.image()
        return cover(self.styled_boxes(style)[0], self.width, self.height).image()
