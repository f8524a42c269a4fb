"""What a receiver can show that got only the gazed tokens, and what each token would change there.

A token carries ``patch`` x ``patch`` colour pixels: its cell, area-averaged to its scale. A receiver
spreads them over the cell's box by cubic interpolation inside the cell. Both steps are small
matrices of whole numbers with one rounding each, so every implementation of them (NumPy here, torch on a GPU
for a whole batch) gives the same bytes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .frame import Image
from .metrics import psnr_from_error
from .tokens import DEFAULT_LAYOUT, TokenLayout

Planes = NDArray[np.float32]

#: What a receiver shows before it got anything: mid grey.
BLANK = 128.0


class TokenReceiver:
    """The closed loop of a stream: a persistent square picture made of tokens alone.

    Call :meth:`observe` with a frame, then :meth:`show` with the tokens chosen from it. Errors are
    sums of squared differences over RGB, kept on a square map whose side is the least common multiple of
    the grids (28 in the default layout), so that every cell of every scale is a whole block of it.

    Args:
        layout: the grids of the stream.

    Raises:
        ValueError: the working size is not a multiple of the error map's side.
    """

    def __init__(self, layout: TokenLayout = DEFAULT_LAYOUT) -> None:
        self.layout = layout
        self.map_side = math.lcm(*layout.grids)
        if layout.size % self.map_side:
            raise ValueError(
                f"working size {layout.size} must be a multiple of {self.map_side}, so that cells are whole pixels"
            )
        self._spreaders = [_CellFilter(layout, grid) for grid in layout.grids[:-1]]
        block = layout.size // self.map_side
        self._pool = np.kron(np.eye(self.map_side, dtype=np.float32), np.ones((block, 1), np.float32))
        # Sums over whole map cells of a working size above 448 pixels can pass 2^24, where float32 has gaps.
        self._pool_rows = self._pool.T.astype(np.float32 if block**2 * 255**2 < 2**24 else np.float64)
        self._scale_errors = np.zeros((len(layout.grids), self.map_side, self.map_side))
        self._measured = [False] * len(self._spreaders)  # of the scales, for the observed frame
        #: (side, side) float64: error of what the receiver shows now against the observed frame.
        self.errors = np.zeros((self.map_side, self.map_side))
        # Every frame reuses these: fresh arrays of this size cost page faults, more than the arithmetic.
        self._planes: Planes = np.zeros((3, layout.size, layout.size), np.float32)
        self._scratch = np.empty_like(self._planes)
        self._picture = np.full_like(self._planes, BLANK)

    def reset(self) -> None:
        """Forget the picture."""
        self._picture.fill(BLANK)

    @property
    def picture(self) -> Image:
        """(size, size, 3) uint8 RGB: what the receiver shows now."""
        return np.ascontiguousarray(self._picture.transpose(1, 2, 0), dtype=np.uint8)

    @property
    def psnr(self) -> float:
        """dB over RGB of the picture against the observed frame; inf where identical."""
        return psnr_from_error(float(self.errors.sum()), self._picture.size)

    @property
    def scale_errors(self) -> NDArray[np.float64]:
        """(scales, side, side): error of each map cell of the observed frame if shown at each scale."""
        for scale in range(len(self._spreaders)):
            self._as_shown(scale)
        return self._scale_errors

    def error_at(self, psnr: float) -> float:
        """The total squared error at which the picture has this PSNR in dB; 0 at inf."""
        return self._picture.size * 255.0**2 * 10 ** (-psnr / 10)

    def observe(self, image: Image) -> None:
        """Take a new frame to compare with and to choose tokens from.

        Args:
            image: (size, size, 3) uint8 RGB.

        Raises:
            ValueError: another shape or type.
        """
        size = self.layout.size
        if image.shape != (size, size, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"the receiver compares ({size}, {size}, 3) uint8 images, got {image.dtype} of shape {image.shape}"
            )
        self._planes[:] = image.transpose(2, 0, 1)
        self._measured = [False] * len(self._spreaders)
        self._measure(self._picture, self.errors)

    def show(self, ids: ArrayLike) -> None:
        """Write tokens of the observed frame into the picture, finer ones over coarser ones.

        Args:
            ids: (N,) token ids in any order.
        """
        size, side = self.layout.size, self.map_side
        for scale, grid, row, col in self.layout.locate(np.sort(np.asarray(ids, np.int64))).tolist():
            box, block = size // grid, side // grid
            pixels = slice(row * box, (row + 1) * box), slice(col * box, (col + 1) * box)
            cells = slice(row * block, (row + 1) * block), slice(col * block, (col + 1) * block)
            everywhere = (slice(None), *pixels)
            self._picture[everywhere] = self._as_shown(scale)[everywhere]
            self.errors[cells] = self._scale_errors[scale][cells]

    def _as_shown(self, scale: int) -> Planes:
        """The observed frame as one scale's tokens show it; made when first asked for, and its errors with it."""
        if scale == len(self._spreaders):  # the finest shows every pixel
            return self._planes
        spreader = self._spreaders[scale]
        if not self._measured[scale]:
            self._measured[scale] = True
            self._measure(spreader(self._planes), self._scale_errors[scale])
        return spreader.result

    def _measure(self, shown: Planes, errors: NDArray[np.float64]) -> None:
        difference = np.subtract(shown, self._planes, out=self._scratch)
        np.square(difference, out=difference)
        # Every partial sum is a whole number below 2^24 (or float64), so the products are exact in any order.
        rows = difference.reshape(-1, self.layout.size) @ self._pool
        pooled = self._pool_rows @ rows.reshape(3, self.layout.size, self.map_side)
        np.sum(pooled, axis=0, dtype=np.float64, out=errors)


def averaged_patches(image: Image, layout: TokenLayout, grid: int) -> Image:
    """What the tokens of one scale carry of a frame.

    Args:
        image: (size, size, 3) uint8 RGB.
        layout: the grids; its size is the image's.
        grid: of the scale.

    Returns:
        (grid, grid, patch, patch, 3) uint8.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
    if grid != layout.grids[-1]:
        planes = _CellFilter(layout, grid).averaged(planes)
    cells = planes.astype(np.uint8).reshape(3, grid, layout.patch, grid, layout.patch)
    return np.ascontiguousarray(cells.transpose(1, 3, 2, 4, 0))


class _CellFilter:
    """Shows a picture as one scale's tokens do: cells averaged to patches and spread back to their boxes."""

    def __init__(self, layout: TokenLayout, grid: int) -> None:
        self.grid = grid
        box = layout.size // grid
        self.down, self.up = _averaging(layout.patch, box), _interpolation(layout.patch, box)
        self._patches = np.empty((3, grid * layout.patch, grid * layout.patch), np.float32)
        self.result = np.empty((3, layout.size, layout.size), np.float32)

    def __call__(self, planes: Planes) -> Planes:
        """(3, size, size) to the same shape; the result is overwritten by the next call."""
        self._apply(self.up, self.averaged(planes), self.result)
        return self.result

    def averaged(self, planes: Planes) -> Planes:
        """(3, grid * patch, grid * patch): the pixels that the scale's tokens carry; the next call overwrites them."""
        self._apply(self.down, planes, self._patches)
        return self._patches

    def _apply(self, matrix: Planes, planes: Planes, out: Planes) -> None:
        to, of = matrix.shape
        total = np.float32(matrix[0].sum() ** 2)
        across = (planes.reshape(-1, of) @ matrix.T).reshape(3 * self.grid, of, self.grid * to)
        cells = out.reshape(3 * self.grid, to, self.grid * to)
        np.matmul(matrix, across, out=cells)
        # Divide and round half up. The sums are whole numbers below 2^24, so a quarter of a unit more
        # keeps exact halves on the right side of float32's rounding and moves nothing else.
        cells *= 1 / total
        cells += np.float32(0.5) + np.float32(0.25) / total
        np.floor(cells, out=cells)
        np.clip(cells, 0, 255, out=cells)


def _averaging(patch: int, box: int) -> Planes:
    """(patch, box) whole-number weights of area averaging; each row has the same sum."""
    weights = np.zeros((patch, box), np.int64)
    for i in range(patch):
        for x in range(box):
            # Overlap of [i, i + 1) * box and [x, x + 1) * patch, in units of 1 / patch pixel.
            weights[i, x] = max(0, min((i + 1) * box, (x + 1) * patch) - max(i * box, x * patch))
    return (weights // np.gcd.reduce(weights.ravel())).astype(np.float32)


def _interpolation(patch: int, box: int) -> Planes:
    """(box, patch) weights of cubic interpolation inside a cell, in whole 128ths.

    Keys' kernel with a = -1/2. Pixels beyond the cell repeat its edge: a token knows no neighbours.
    """
    unit = 128
    weights = np.zeros((box, patch))
    for x in range(box):
        centre = (2 * x + 1) * patch / (2 * box) - 0.5
        for i in range(math.floor(centre) - 1, math.floor(centre) + 3):
            t = abs(centre - i)
            near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
            weights[x, min(max(i, 0), patch - 1)] += near if t <= 1 else far
    whole = np.rint(weights * unit)
    whole[np.arange(box), whole.argmax(axis=1)] += unit - whole.sum(axis=1)
    return whole.astype(np.float32)
