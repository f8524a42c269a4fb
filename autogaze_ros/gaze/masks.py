"""Masks: which cells, and which pixels, a gaze covers.

Everything is exact to the pixel. A frame's boxes have few distinct edges, so coverage is computed on the
grid that these edges span (:class:`Coverage`), which has hundreds of cells where the image has millions
of pixels, and is spread to pixels only when someone wants an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .tokens import IntArray, TokenLayout

MaskStyle = Literal["native", "deduplicated", "effective"]
MASK_STYLES: tuple[MaskStyle, ...] = get_args(MaskStyle)


@dataclass(frozen=True)
class Coverage:
    """The pixels under a set of boxes, on the irregular grid that the boxes' edges span."""

    #: (X + 1,) and (Y + 1,) edges in pixels, from 0 to the image's width and height.
    x_edges: IntArray
    y_edges: IntArray
    #: (Y, X): how many boxes cover each patch of this grid.
    counts: IntArray
    #: (N, 4): each box as x0, y0, x1, y1 in cells of this grid.
    spans: IntArray

    @property
    def ratio(self) -> float:
        """Covered pixels / all pixels, 0..1."""
        widths, heights = np.diff(self.x_edges), np.diff(self.y_edges)
        covered = heights.astype(np.int64) @ (self.counts > 0) @ widths.astype(np.int64)
        return float(covered) / (int(self.x_edges[-1]) * int(self.y_edges[-1]))

    def to_pixels(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W): ``values`` (Y, X), one for each patch of the grid, spread over the image."""
        wide = np.repeat(values, np.diff(self.x_edges), axis=1)
        return np.repeat(wide, np.diff(self.y_edges), axis=0)

    def rectangles(self, values: NDArray[np.integer]) -> list[tuple[int, int, int, int, int]]:
        """Pixel rectangles ``x0, y0, x1, y1, value`` that tile all patches whose value is not negative.

        Args:
            values: (Y, X), one for each patch of the grid; neighbours in a row with one value are joined.
        """
        rows, columns = values.shape
        starts: NDArray[np.bool_] = np.ones((rows, columns), bool)
        starts[:, 1:] = values[:, 1:] != values[:, :-1]
        row, first = np.nonzero(starts)
        # A run ends where the next one starts, the last of a row at the row's end.
        last = np.append(first[1:], columns)
        last[np.append(row[1:] != row[:-1], True)] = columns
        value = values[row, first]
        x0, x1, y0, y1 = self.x_edges[first], self.x_edges[last], self.y_edges[row], self.y_edges[row + 1]
        table = np.stack([x0, y0, x1, y1, value], axis=1)[value >= 0]
        return [tuple(line) for line in table.tolist()]

    def image(self) -> NDArray[np.uint8]:
        """(H, W) uint8: 255 in covered pixels, 0 elsewhere."""
        return self.to_pixels((self.counts > 0).astype(np.uint8) * 255)


def cover(boxes: IntArray, width: int, height: int) -> Coverage:
    """The coverage of (N, 4) boxes ``x0, y0, x1, y1`` (upper bounds exclusive) in an image.

    Raises:
        ValueError: a box that is empty or reaches out of the image.
    """
    x0, y0, x1, y1 = np.asarray(boxes, np.int64).reshape(-1, 4).T
    if np.any((x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height) | (x0 >= x1) | (y0 >= y1)):
        raise ValueError(f"boxes must be non-empty and lie inside the {width} x {height} image")
    x_edges = np.unique(np.concatenate([[0, width], x0, x1])).astype(np.int32)
    y_edges = np.unique(np.concatenate([[0, height], y0, y1])).astype(np.int32)
    spans = np.stack(
        [
            np.searchsorted(x_edges, x0),
            np.searchsorted(y_edges, y0),
            np.searchsorted(x_edges, x1),
            np.searchsorted(y_edges, y1),
        ],
        axis=1,
    )
    # Each box adds 1 from its first corner on and takes it back past its sides; the double sum counts boxes.
    corners = np.zeros((len(y_edges), len(x_edges)), np.int32)
    for column, row, sign in ((0, 1, 1), (2, 1, -1), (0, 3, -1), (2, 3, 1)):
        np.add.at(corners, (spans[:, row], spans[:, column]), sign)
    boxes_over = corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
    return Coverage(x_edges, y_edges, boxes_over.astype(np.int32), spans.astype(np.int32))


def deduplicate(boxes: IntArray, width: int, height: int) -> NDArray[np.bool_]:
    """(N,) which boxes to keep so that the covered pixels stay the same.

    From the largest to the smallest (of equal ones, in their order), a box all of whose pixels are covered
    already is dropped.
    """
    coverage = cover(boxes, width, height)
    seen = np.zeros(coverage.counts.shape, bool)
    keep = np.zeros(len(boxes), bool)
    areas = (boxes[:, 2] - boxes[:, 0]).astype(np.int64) * (boxes[:, 3] - boxes[:, 1])
    for index in np.argsort(-areas, kind="stable").tolist():
        x0, y0, x1, y1 = coverage.spans[index].tolist()
        patch = seen[y0:y1, x0:x1]
        if not patch.all():
            keep[index] = True
            patch[:] = True
    return keep


def scale_bitmaps(layout: TokenLayout, ids: ArrayLike) -> list[NDArray[np.bool_]]:
    """The native mask: for each scale, coarse to fine, a (grid, grid) bool array of the chosen cells."""
    flat = np.zeros(layout.count, bool)
    flat[layout.checked(ids)] = True
    return [
        flat[offset : offset + grid * grid].reshape(grid, grid)
        for offset, grid in zip(layout.offsets, layout.grids, strict=True)
    ]


def effective_bitmap(layout: TokenLayout, ids: ArrayLike) -> NDArray[np.bool_]:
    """The effective mask: (grid, grid) bool on the finest grid, every cell that a chosen token touches.

    A 2 x 2 token is 49 of the 14 x 14 cells; where grids do not nest, a token marks each cell that it overlaps.
    """
    finest = layout.grids[-1]
    mask = np.zeros((finest, finest), bool)
    for _, grid, row, col in layout.locate(ids).tolist():
        rows = slice(row * finest // grid, -(-(row + 1) * finest // grid))
        mask[rows, col * finest // grid : -(-(col + 1) * finest // grid)] = True
    return mask
