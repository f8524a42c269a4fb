"""Tokens and boxes: the multi-scale grid that a gaze chooses from.

A frame is seen at several scales (32, 64, 112 and 224 pixels square in the released model),
each cut into 16 x 16 pixel patches: grids of 2 x 2, 4 x 4, 7 x 7 and 14 x 14 cells. Token ids
count through the scales from coarse to fine and through each grid row by row: 265 ids in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class TokenLayout:
    """The grids of a frame, coarse to fine.

    Args:
        grids: cells along each side at each scale, strictly increasing.
        patch: side of a token's patch in pixels of its scale.

    Raises:
        ValueError: no grid, a grid below 1, or grids that don't increase.
    """

    grids: tuple[int, ...] = (2, 4, 7, 14)
    patch: int = 16

    def __post_init__(self) -> None:
        if (
            not self.grids
            or self.grids[0] < 1
            or any(a >= b for a, b in zip(self.grids, self.grids[1:], strict=False))
        ):
            raise ValueError(f"grids must be positive and increase from coarse to fine, got {self.grids}")
        if self.patch < 1:
            raise ValueError(f"patch must be at least 1 pixel, got {self.patch}")

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First token id of each scale: (0, 4, 20, 69) in the default layout."""
        ends = np.cumsum([g * g for g in self.grids])
        return (0, *(int(e) for e in ends[:-1]))

    @cached_property
    def count(self) -> int:
        """Tokens a frame has: 265 in the default layout."""
        return sum(g * g for g in self.grids)

    @property
    def size(self) -> int:
        """Side of the square working image in pixels, at the finest scale: 224 in the default layout."""
        return self.grids[-1] * self.patch

    @cached_property
    def table(self) -> IntArray:
        """(count, 4) int32: scale index, grid, row and column of every token id."""
        rows = [(s, g, r, c) for s, g in enumerate(self.grids) for r in range(g) for c in range(g)]
        table = np.array(rows, np.int32)
        table.setflags(write=False)
        return table

    def locate(self, ids: ArrayLike) -> IntArray:
        """(N, 4) int32: scale index, grid, row and column of each id.

        Raises:
            ValueError: as :meth:`checked`.
        """
        return self.table[self.checked(ids)]

    def token_id(self, scale: ArrayLike, row: ArrayLike, col: ArrayLike) -> Any:
        """The id of (scale index, row, column); scalars or arrays of one shape.

        Raises:
            ValueError: a scale, row or column outside the layout.
        """
        scale, row, col = (np.asarray(v, np.int64) for v in (scale, row, col))
        if np.any((scale < 0) | (scale >= len(self.grids))):
            raise ValueError(f"scale index must be 0..{len(self.grids) - 1}, got {scale}")
        grid = np.asarray(self.grids)[scale]
        if np.any((row < 0) | (row >= grid) | (col < 0) | (col >= grid)):
            raise ValueError(f"row {row}, column {col} lie outside the {grid} x {grid} grid")
        return (np.asarray(self.offsets)[scale] + row * grid + col)[()]

    def cells(self, ids: ArrayLike) -> FloatArray:
        """(N, 4) float32: centre x, centre y, width and height of each cell in units of the image, 0..1."""
        _, grid, row, col = self.locate(ids).T
        side = 1.0 / grid
        return np.stack([(col + 0.5) * side, (row + 0.5) * side, side, side], axis=1).astype(np.float32)

    def boxes(self, ids: ArrayLike, width: int, height: int) -> IntArray:
        """(N, 4) int32: x0, y0, x1, y1 of each cell in pixels of a ``width`` x ``height`` image.

        The upper bounds are exclusive. A box is rounded outwards, so it holds every pixel that its
        cell touches and is never empty: ``x0 = floor(col / g * W)``, ``x1 = ceil((col + 1) / g * W)``.
        """
        return all_boxes(self, width, height)[self.checked(ids)]

    def checked(self, ids: ArrayLike) -> NDArray[np.int64]:
        """The ids as an int64 array.

        Raises:
            ValueError: an id outside 0..count-1 (the padding id is one of these).
        """
        ids = np.asarray(ids, np.int64)
        if ids.size and (ids.min() < 0 or ids.max() >= self.count):
            bad = ids[(ids < 0) | (ids >= self.count)][0]
            raise ValueError(f"token id {bad} is outside 0..{self.count - 1}")
        return ids


@lru_cache(maxsize=64)
def all_boxes(layout: TokenLayout, width: int, height: int) -> IntArray:
    """(count, 4) int32, read-only: the box of every token id, as :meth:`TokenLayout.boxes` gives it."""
    if width < 1 or height < 1:
        raise ValueError(f"image size must be at least 1 x 1, got {width} x {height}")
    _, grid, row, col = layout.table.astype(np.int64).T
    # Integer arithmetic: in floating point a bound on a pixel edge could land on either side of it.
    x0, y0 = col * width // grid, row * height // grid
    x1, y1 = -((-(col + 1) * width) // grid), -((-(row + 1) * height) // grid)
    boxes = np.stack([x0, y0, x1, y1], axis=1).astype(np.int32)
    boxes.setflags(write=False)
    return boxes


DEFAULT_LAYOUT = TokenLayout()
