"""The views that ~/overlay can show."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..gaze.frame import Frame
from ..gaze.gaze_frame import GazeFrame
from ..gaze.masks import MaskStyle, cover
from ..gaze.metrics import psnr
from ..settings import VIEWS
from .overlay import colour_of, draw_caption, draw_overlay, finest_rectangles, outline, write

#: The views that show the reconstruction.
RECONSTRUCTION_VIEWS = ("interframe", "side_by_side")

Picture = NDArray[np.uint8]

#: What is left of the light where the gaze is not.
DIM = 0.25


def draw_view(
    view: str,
    frame: Frame,
    gaze: GazeFrame,
    reconstruction: Picture,
    style: MaskStyle = "native",
    opacity: float = 0.35,
    annotate: bool = True,
) -> Picture:
    """Draw one of the views.

    Args:
        view: one of the settings' :data:`VIEWS`.
        frame: the image; not changed.
        gaze: its gaze.
        reconstruction: (H, W, 3), in the frame's channel order; only :data:`RECONSTRUCTION_VIEWS` look at it.
        style: which cells are drawn.
        opacity: 0..1, share of the tint.
        annotate: write counts and ratios.

    Returns:
        uint8 in the frame's channel order: (H, W, 3); (H, W, 4) with transparency for ``mask_only``; another
        size for ``scale_rows`` and ``side_by_side``, which show several pictures.

    Raises:
        ValueError: another view.
    """
    if view == "overlay":
        return draw_overlay(frame, gaze, style, opacity, annotate)
    if view == "scale_rows":
        return scale_rows(frame, gaze, style, annotate)
    if view == "mask_only":
        return mask_only(frame, gaze, style)
    if view == "full_blend":
        return full_blend(frame, gaze, style, opacity, annotate)
    if view == "interframe":
        picture = reconstruction.copy()
        if annotate:
            shown = psnr(picture, np.ascontiguousarray(frame.pixels))
            draw_caption(picture, gaze, frame.order, shown)
        return picture
    if view == "side_by_side":
        return side_by_side(frame, gaze, reconstruction, style, annotate)
    raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view!r}")


def scale_rows(frame: Frame, gaze: GazeFrame, style: MaskStyle, annotate: bool) -> Picture:
    """One picture for each scale, coarse on top: bright inside its cells, dark elsewhere.

    Rows keep their place and stay where a scale has no cell. Each is at most 640 pixels wide and has the
    image's aspect. The style ``effective`` has one scale, so one row is lit.
    """
    small = _fitted(frame.pixels, 640)
    height, width = small.shape[:2]
    boxes, scales = gaze.styled_boxes(style)
    rows = []
    for scale, grid in enumerate(gaze.layout.grids):
        row = cv2.convertScaleAbs(small, alpha=DIM)
        mine = _scaled(boxes[scales == scale], gaze, width, height)
        for x0, y0, x1, y1 in mine.tolist():
            row[y0:y1, x0:x1] = small[y0:y1, x0:x1]
        outline(row, mine, np.full(len(mine), scale), frame.order)
        if annotate:
            share = cover(mine, width, height).ratio
            write(row, f"{grid}x{grid}: {len(mine)}, {share:.0%}", (255, 255, 255))
        rows.append(row)
    return np.vstack(rows)


def mask_only(frame: Frame, gaze: GazeFrame, style: MaskStyle) -> Picture:
    """(H, W, 4): the gazed cells in the colours of their scales, the finest on top, transparent elsewhere."""
    picture = np.zeros((frame.height, frame.width, 4), np.uint8)
    for x0, y0, x1, y1, scale in finest_rectangles(*gaze.styled_boxes(style), frame.width, frame.height):
        colour = (*colour_of(scale, frame.order), 255)
        cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), colour, cv2.FILLED)
    return picture


def full_blend(frame: Frame, gaze: GazeFrame, style: MaskStyle, opacity: float, annotate: bool) -> Picture:
    """The whole image: dark where the gaze is not, and tinted once for every cell over a pixel, coarse first.

    Unlike the overlay, in which the finest cell alone tints a pixel, this shows where scales lie over each other.
    """
    boxes, scales = gaze.styled_boxes(style)
    coverage = cover(boxes, frame.width, frame.height)
    # Blending is linear: each patch of the coverage's grid has one factor for the image and one colour to add.
    factor = np.where(coverage.counts > 0, 1.0, DIM)
    added = np.zeros((*coverage.counts.shape, 3))
    for (x0, y0, x1, y1), scale in zip(coverage.spans.tolist(), scales.tolist(), strict=True):
        factor[y0:y1, x0:x1] *= 1 - opacity
        added[y0:y1, x0:x1] *= 1 - opacity
        added[y0:y1, x0:x1] += opacity * np.asarray(colour_of(scale, frame.order))
    # Patches that blend alike share one run; a patch is told by its factor and colour.
    kinds, index = np.unique(
        np.concatenate([factor[:, :, None], added], axis=2).reshape(-1, 4), axis=0, return_inverse=True
    )
    values = np.arange(256)[None, :, None]
    tables = [np.rint(values * kind[0] + kind[1:]).clip(0, 255).astype(np.uint8) for kind in kinds]
    picture = np.empty_like(frame.pixels, order="C")
    for x0, y0, x1, y1, kind in coverage.rectangles(index.reshape(factor.shape)):
        cv2.LUT(frame.pixels[y0:y1, x0:x1], tables[kind], dst=picture[y0:y1, x0:x1])
    outline(picture, boxes, scales, frame.order)
    if annotate:
        draw_caption(picture, gaze, frame.order)
    return picture


def side_by_side(
    frame: Frame, gaze: GazeFrame, reconstruction: Picture, style: MaskStyle, annotate: bool
) -> Picture:
    """The image, its mask and the reconstruction next to each other, each at most 640 pixels wide."""
    image, output = _fitted(frame.pixels, 640), _fitted(reconstruction, 640)
    height, width = image.shape[:2]
    boxes, scales = gaze.styled_boxes(style)
    small = _scaled(boxes, gaze, width, height)
    mask = np.zeros((height, width, 3), np.uint8)
    for x0, y0, x1, y1, scale in finest_rectangles(small, scales, width, height):
        cv2.rectangle(mask, (x0, y0), (x1 - 1, y1 - 1), colour_of(scale, frame.order), cv2.FILLED)
    outline(mask, small, np.full(len(small), -1), frame.order)
    panels = [image.copy(), mask, output.copy()]
    if annotate:
        decibels = psnr(np.ascontiguousarray(reconstruction), np.ascontiguousarray(frame.pixels))
        texts = ("input", f"{len(gaze)} tokens, {gaze.gaze_ratio:.0%}", f"output, {decibels:.1f} dB")
        for panel, text in zip(panels, texts, strict=True):
            write(panel, text, (255, 255, 255))
    return np.hstack(panels)


def _fitted(picture: Picture, widest: int) -> Picture:
    """The picture, made smaller to a width where it is wider."""
    height, width = picture.shape[:2]
    if width <= widest:
        return picture
    size = (widest, max(1, round(height * widest / width)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _scaled(boxes: NDArray[np.int32], gaze: GazeFrame, width: int, height: int) -> NDArray[np.int32]:
    """Boxes in source pixels at another size of the image, rounded outwards."""
    x0, y0, x1, y1 = boxes.astype(np.int64).T
    low = [x0 * width // gaze.width, y0 * height // gaze.height]
    high = [-(-x1 * width // gaze.width), -(-y1 * height // gaze.height)]
    return np.stack([*low, *high], axis=1).astype(np.int32)
