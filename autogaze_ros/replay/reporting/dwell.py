"""Where the gaze dwells, and at which scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...gaze.masks import cover
from ..run_tables import Column, Fixations

Map = NDArray[np.float64]


@dataclass(frozen=True)
class Dwell:
    """Where the gaze of one camera dwells, in source pixels.

    Args:
        density: (H, W) fixations a frame on each pixel, every fixation spread evenly over its cell so that it counts
            once whatever its size; the sum is the fixations a frame.
        seen: (H, W) share of the frames, 0..1, in which the pixel lay inside the gaze.
        frames: that were counted.
        keyframes: these are among them; only where there are no other frames.
        other_sizes: frames that were left out as their images have another size.
    """

    density: Map
    seen: Map
    frames: int
    keyframes: bool
    other_sizes: int


def dwell(frames: dict[str, Column], fixations: Fixations) -> Dwell | None:
    """Where the gaze dwells in the images of the most common size; None where there are no frames.

    Keyframes look everywhere by design, so they are left out unless there are no other frames.

    Args:
        frames: of one topic.
        fixations: of the same.
    """
    keyframes = bool(np.all(frames["keyframe"]))
    counted = np.ones(len(frames["index"]), bool) if keyframes else ~frames["keyframe"]
    if not len(counted):
        return None
    sizes = np.stack([frames["width"], frames["height"]], axis=1)
    kinds, number = np.unique(sizes[counted], axis=0, return_counts=True)
    width, height = kinds[int(np.argmax(number))].tolist()
    fitting = counted & np.all(sizes == (width, height), axis=1)
    density, seen = np.zeros((height + 1, width + 1)), np.zeros((height + 1, width + 1), np.int64)
    for index in frames["index"][fitting].tolist():
        boxes = fixations.boxes[fixations.of(index)]
        if not len(boxes):
            continue
        _add(density, boxes, 1.0 / _areas(boxes))
        coverage = cover(boxes, width, height)
        union = coverage.rectangles(np.where(coverage.counts > 0, 0, -1))
        _add(seen, np.array(union)[:, :4], np.ones(len(union), np.int64))
    total = int(fitting.sum())
    return Dwell(
        # Sums of differences can end a hair below 0.
        np.maximum(_summed(density), 0) / total,
        _summed(seen) / total,
        total,
        keyframes,
        int(counted.sum()) - total,
    )


@dataclass(frozen=True)
class ScaleShare:
    """What one scale was given.

    Args:
        scale: index, 0 is the coarsest.
        grid: cells along a side; 0 where no token had this scale.
        tokens: how many.
        area: their cells' pixels, summed over all frames; overlapping cells count each.
    """

    scale: int
    grid: int
    tokens: int
    area: int


def scale_shares(fixations: Fixations) -> list[ScaleShare]:
    """Tokens and area of each scale up to the finest that was chosen."""
    count = int(fixations.scale.max(initial=-1)) + 1
    tokens = np.bincount(fixations.scale, minlength=count)
    shares = []
    for scale in range(count):
        mine = fixations.scale == scale
        area = int(_areas(fixations.boxes[mine]).sum())
        shares.append(ScaleShare(scale, int(fixations.grid[mine].max(initial=0)), int(tokens[scale]), area))
    return shares


def _areas(boxes: NDArray[np.int32]) -> NDArray[np.int64]:
    wide = boxes.astype(np.int64)
    areas: NDArray[np.int64] = (wide[:, 2] - wide[:, 0]) * (wide[:, 3] - wide[:, 1])
    return areas


def _add(corners: NDArray, boxes: NDArray, amount: NDArray) -> None:
    """Add an amount to each box of a map of which only the differences between neighbours are kept."""
    x0, y0, x1, y1 = boxes.T
    np.add.at(corners, (y0, x0), amount)
    np.add.at(corners, (y0, x1), -amount)
    np.add.at(corners, (y1, x0), -amount)
    np.add.at(corners, (y1, x1), amount)


def _summed(corners: NDArray) -> NDArray:
    return corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
