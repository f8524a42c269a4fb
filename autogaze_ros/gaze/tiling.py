"""Tiles: a frame looked at through several square windows, each a stream of its own.

``resize`` squeezes the whole frame into one window. ``tile_grid`` enlarges the frame to whole windows, so
that nothing is squeezed by much; ``tile_exact`` lays windows on the original pixels and repeats the edge
where a window reaches over it. Cells are mapped back to the pixels that they really cover, in whole
numbers, so nothing drifts from tile to tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .frame import Frame, Image
from .tokens import FloatArray, IntArray, TokenLayout

Index = NDArray[np.int64]
Resolution = Literal["resize", "tile_grid", "tile_exact"]
RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)


@dataclass(frozen=True)
class Tiling:
    """The windows of frames of one size.

    Args:
        layout: the grids of one window; its size is the window's side.
        width: of the frames, in pixels.
        height: of the frames.
        resolution: one of :data:`RESOLUTIONS`.
        overlap: canvas pixels that neighbouring windows share, below half a window; for tiles only.

    Raises:
        ValueError: a size below 1, another resolution, or an overlap out of range.
    """

    layout: TokenLayout
    width: int
    height: int
    resolution: Resolution = "resize"
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size must be at least 1 x 1, got {self.width} x {self.height}")
        if self.resolution not in RESOLUTIONS:
            raise ValueError(f"resolution must be one of {', '.join(RESOLUTIONS)}, got {self.resolution!r}")
        if not 0 <= self.overlap < self.layout.size / 2:
            raise ValueError(
                f"overlap must be 0 to below half a tile of {self.layout.size}, got {self.overlap}"
            )

    @cached_property
    def rows(self) -> int:
        """Rows of windows."""
        return self._windows(self.height)

    @cached_property
    def cols(self) -> int:
        """Columns of windows."""
        return self._windows(self.width)

    @property
    def count(self) -> int:
        """Windows a frame has."""
        return self.rows * self.cols

    @cached_property
    def canvas(self) -> tuple[int, int]:
        """Width and height in pixels of what the windows lie on."""
        stride = self._stride
        return self.cols * stride + self._shared, self.rows * stride + self._shared

    def boxes(self, tiles: ArrayLike, ids: ArrayLike) -> IntArray:
        """(N, 4) int32 x0, y0, x1, y1 in source pixels of tokens, upper bounds exclusive.

        A box is rounded outwards, so it holds every source pixel that its cell touches. A cell that lies wholly
        on the repeated edge of ``tile_exact`` has an empty box.

        Args:
            tiles: (N,) index of each token's window, row by row.
            ids: (N,) token ids within the window.

        Raises:
            ValueError: a tile or an id that is not there.
        """
        tile = np.asarray(tiles, np.int64)
        if tile.size and (tile.min() < 0 or tile.max() >= self.count):
            raise ValueError(f"tile index must be 0..{self.count - 1}")
        _, grid, row, col = self.layout.locate(ids).astype(np.int64).T
        x = self._span(tile % self.cols, col, grid, self.width, self.canvas[0])
        y = self._span(tile // self.cols, row, grid, self.height, self.canvas[1])
        return np.stack([x[0], y[0], x[1], y[1]], axis=1).astype(np.int32)

    def keys(self, tiles: ArrayLike, ids: ArrayLike) -> Index:
        """(N, 3): where a cell lies on the canvas; equal for the cells of two windows that are the same there."""
        tile = np.asarray(tiles, np.int64)
        _, grid, row, col = self.layout.locate(ids).astype(np.int64).T
        x = tile % self.cols * self._stride * grid + col * self.layout.size
        y = tile // self.cols * self._stride * grid + row * self.layout.size
        return np.stack([grid, x, y], axis=1)

    @property
    def window(self) -> tuple[float, float, float, float]:
        """Width and height of a window, and the distances between windows, all in source pixels."""
        exact = self.resolution == "tile_exact"
        x, y = (1.0, 1.0) if exact else (self.width / self.canvas[0], self.height / self.canvas[1])
        size, stride = self.layout.size, self._stride
        return size * x, size * y, stride * x, stride * y

    def cells(self, tiles: ArrayLike, ids: ArrayLike) -> FloatArray:
        """(N, 4) float32: centre x, centre y, width and height of tokens' exact cells in units of the image."""
        tile = np.asarray(tiles, np.int64)
        _, grid, row, col = self.layout.locate(ids).astype(np.int64).T
        size, stride = self.layout.size, self._stride
        exact = self.resolution == "tile_exact"
        width, height = (self.width, self.height) if exact else self.canvas
        side = size / grid
        x = tile % self.cols * stride + (col + 0.5) * side
        y = tile // self.cols * stride + (row + 0.5) * side
        return np.stack([x / width, y / height, side / width, side / height], axis=1).astype(np.float32)

    def cut(self, frame: Frame) -> list[Frame]:
        """The windows of a frame, row by row; for ``resize`` the frame itself.

        Raises:
            ValueError: the frame has another size.
        """
        if (frame.width, frame.height) != (self.width, self.height):
            raise ValueError(
                f"frame of {frame.width} x {frame.height} in a tiling of {self.width} x {self.height}"
            )
        if self.resolution == "resize":
            return [frame]
        import cv2

        width, height = self.canvas
        if self.resolution == "tile_grid":
            pixels = cv2.resize(frame.pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        else:
            border = (0, max(0, height - self.height), 0, max(0, width - self.width))
            pixels = (
                cv2.copyMakeBorder(frame.pixels, *border, cv2.BORDER_REPLICATE)
                if any(border)
                else frame.pixels
            )
        size, stride = self.layout.size, self._stride
        corners = [(row * stride, col * stride) for row in range(self.rows) for col in range(self.cols)]
        return [
            Frame(pixels[top : top + size, left : left + size], frame.stamp, frame.order, frame.encoding)
            for top, left in corners
        ]

    def assemble(self, pictures: list[Image]) -> Image:
        """(height, width, 3): one picture of the windows' pictures, at the frames' size.

        Args:
            pictures: (size, size, 3) uint8 for each window, row by row; in an overlap the later one counts.
        """
        import cv2

        size, stride = self.layout.size, self._stride
        width, height = self.canvas
        canvas = np.empty((height, width, 3), np.uint8)
        for index, picture in enumerate(pictures):
            top, left = index // self.cols * stride, index % self.cols * stride
            canvas[top : top + size, left : left + size] = picture
        if self.resolution == "tile_exact":
            return np.ascontiguousarray(canvas[: self.height, : self.width])
        return cv2.resize(canvas, (self.width, self.height), interpolation=cv2.INTER_CUBIC)

    @property
    def _shared(self) -> int:
        return 0 if self.resolution == "resize" else self.overlap

    @property
    def _stride(self) -> int:
        return self.layout.size - self._shared

    def _windows(self, length: int) -> int:
        if self.resolution == "resize":
            return 1
        return max(1, -(-(length - self._shared) // self._stride))

    def _span(self, window: Index, cell: Index, grid: Index, length: int, canvas: int) -> tuple[Index, Index]:
        """First and last-plus-one source pixel of cells along one axis."""
        # Canvas position times grid, then to source pixels, all in whole numbers.
        begin = window * self._stride * grid + cell * self.layout.size
        end = begin + self.layout.size
        source, of = (1, 1) if self.resolution == "tile_exact" else (length, canvas)
        low = np.minimum(begin * source // (grid * of), length)
        high = np.minimum(-(-end * source // (grid * of)), length)
        return low, high


def share_out(total: int, errors: NDArray[np.float64], most: int) -> list[int]:
    """Share a frame's tokens out to its tiles, in proportion to what each receiver has wrong.

    Args:
        total: tokens to share.
        errors: (N,) error of each tile, 0 or more.
        most: of one tile.

    Returns:
        N budgets, each 0 to ``most``; together ``total``, or less where no tile may take more or has an error.
    """
    budgets = np.zeros(len(errors), np.int64)
    open_tiles = errors > 0
    left = min(total, most * int(open_tiles.sum()))
    while left:
        weights = np.where(open_tiles, errors, 0.0)
        wanted = weights / weights.sum() * left
        given = np.minimum(np.floor(wanted).astype(np.int64), most - budgets)
        if not given.any():  # fewer tokens than tiles: one each, in the order of what is left of their claims
            order = np.argsort(-wanted, kind="stable")[: min(left, int(open_tiles.sum()))]
            given[order] = 1
        budgets += given
        left -= int(given.sum())
        open_tiles &= budgets < most
    return [int(budget) for budget in budgets]
