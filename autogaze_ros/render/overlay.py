"""The overlay: gazed cells tinted by scale on the image, coarse under fine, with thin outlines."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ..gaze.frame import ChannelOrder, Frame
from ..gaze.gaze_frame import GazeFrame
from ..gaze.masks import MaskStyle, cover
from ..gaze.tokens import IntArray

#: RGB, coarse to fine: the hues stay apart for the common kinds of colour blindness, and get lighter towards the fine.
SCALE_COLOURS: tuple[tuple[int, int, int], ...] = (
    (0, 114, 178),
    (204, 80, 160),
    (230, 130, 0),
    (250, 230, 60),
)

FONT = cv2.FONT_HERSHEY_SIMPLEX
Picture = NDArray[np.uint8]


def draw_overlay(
    frame: Frame,
    gaze: GazeFrame,
    style: MaskStyle = "native",
    opacity: float = 0.35,
    annotate: bool = True,
) -> Picture:
    """Draw a gaze on its frame.

    Args:
        frame: the image; not changed.
        gaze: its gaze.
        style: which cells are drawn.
        opacity: 0..1, share of the tint in a gazed cell.
        annotate: write counts by scale, gaze ratio and PSNR into the upper left corner.

    Returns:
        (H, W, 3) uint8 in the frame's channel order.
    """
    image = frame.pixels.copy()
    boxes, scales = gaze.styled_boxes(style)
    if opacity:
        _blend(image, finest_rectangles(boxes, scales, frame.width, frame.height), frame.order, opacity)
    outline(image, boxes, scales, frame.order)
    if annotate:
        draw_caption(image, gaze, frame.order)
    return image


def colour_of(scale: int, order: ChannelOrder) -> tuple[int, int, int]:
    """The colour of a scale in a channel order; white for -1."""
    colour = SCALE_COLOURS[scale % len(SCALE_COLOURS)] if scale >= 0 else (255, 255, 255)
    return colour if order == "rgb" else (colour[2], colour[1], colour[0])


def finest_rectangles(
    boxes: IntArray, scales: IntArray, width: int, height: int
) -> list[tuple[int, int, int, int, int]]:
    """Rectangles ``x0, y0, x1, y1, scale`` that tile the covered pixels, each with the last box's scale there."""
    coverage = cover(boxes, width, height)
    finest = np.full(coverage.counts.shape, -1)
    for (x0, y0, x1, y1), scale in zip(coverage.spans.tolist(), scales.tolist(), strict=True):
        finest[y0:y1, x0:x1] = scale
    return coverage.rectangles(finest)


def outline(image: Picture, boxes: IntArray, scales: IntArray, order: ChannelOrder) -> None:
    """Draw thin frames just inside boxes, in place."""
    thickness = max(1, round(min(image.shape[:2]) / 540))
    for (x0, y0, x1, y1), scale in zip(boxes.tolist(), scales.tolist(), strict=True):
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), colour_of(scale, order), thickness)


def write(image: Picture, text: str, colour: tuple[int, int, int]) -> None:
    """Write a line on a darkened strip in the upper left corner, in place; on a tiny image nothing."""
    if min(image.shape[:2]) < 64:
        return
    size = max(0.4, image.shape[1] / 1200)
    width, height = cv2.getTextSize(text, FONT, size, 1)[0]
    panel = image[: 2 * height, : width + height]
    cv2.convertScaleAbs(panel, dst=panel, alpha=0.25)
    cv2.putText(image, text, (height // 2, height * 3 // 2), FONT, size, colour, 1, cv2.LINE_AA)


def draw_caption(image: Picture, gaze: GazeFrame, order: ChannelOrder, decibels: float | None = None) -> None:
    """Write tokens by scale, gaze ratio and PSNR into the upper left corner, in place; on a tiny image nothing.

    Args:
        image: to write on.
        gaze: of the image.
        order: of the image's channels.
        decibels: PSNR to write; that of the token reconstruction where None.
    """
    height, width = image.shape[:2]
    if min(height, width) < 96:
        return
    size = max(0.4, min(height / 900, width / 1200))
    font, weight = FONT, max(1, round(size * 1.6))
    line, margin = round(30 * size), round(10 * size)
    decibels = gaze.psnr if decibels is None else decibels
    quality = "identical" if math.isinf(decibels) else f"{decibels:.1f} dB"
    title = f"{len(gaze)} tokens  {gaze.gaze_ratio:.0%} seen  {quality}" + ("  KEY" if gaze.keyframe else "")
    counts = np.bincount(gaze.layout.locate(gaze.ids)[:, 0], minlength=len(gaze.layout.grids))
    entries = [
        (f"{grid}x{grid}: {count}", scale)
        for scale, (grid, count) in enumerate(zip(gaze.layout.grids, counts.tolist(), strict=True))
    ]
    swatch = round(18 * size)
    widths = [swatch + cv2.getTextSize(text, font, size, weight)[0][0] + 2 * margin for text, _ in entries]
    right = min(width, margin + max(cv2.getTextSize(title, font, size, weight)[0][0] + margin, sum(widths)))
    panel = image[: margin + 2 * line + margin // 2, :right]
    cv2.convertScaleAbs(panel, dst=panel, alpha=0.25)  # dark enough for white text on any scene
    cv2.putText(image, title, (margin, line), font, size, (255, 255, 255), weight, cv2.LINE_AA)
    x = margin
    for (text, scale), step in zip(entries, widths, strict=True):
        colour = colour_of(scale, order)
        cv2.rectangle(image, (x, 2 * line - swatch + 2), (x + swatch, 2 * line + 2), colour, cv2.FILLED)
        cv2.putText(
            image,
            text,
            (x + swatch + margin // 2, 2 * line),
            font,
            size,
            (255, 255, 255),
            weight,
            cv2.LINE_AA,
        )
        x += step


def _blend(
    image: Picture, rectangles: list[tuple[int, int, int, int, int]], order: ChannelOrder, opacity: float
) -> None:
    """Blend rectangles ``x0, y0, x1, y1, scale`` of an image with the colour of their scale, in place."""
    for x0, y0, x1, y1, scale in rectangles:
        strip = _strip(image.shape[1], colour_of(scale, order))
        for top in range(y0, y1, len(strip)):
            part = image[top : min(top + len(strip), y1), x0:x1]
            cv2.addWeighted(part, 1 - opacity, strip[: part.shape[0], : x1 - x0], opacity, 0, dst=part)


@lru_cache(maxsize=32)
def _strip(width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """(32, width, 3) of one colour: a second operand for blending that stays in the processor's cache."""
    return np.full((32, width, 3), colour, np.uint8)
