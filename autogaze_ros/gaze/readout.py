"""Read-out: what a gaze means in the tokens of another model.

All functions take NumPy arrays or torch tensors and return what they were given, tensors on their own
device, with the same values. Gradients flow through features (:func:`pyramid_tokens`); boxes, masks and pixels are read
as they are. Geometry that does not divide exactly is an error, never rounded: a token index that is
off by one shows another place of the image.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gaze_frame import GazeFrame
from .receiver import averaged_patches

#: A NumPy array or a torch tensor.
Array = Any
Cells = NDArray[np.int64]


def boxes_to_cells(boxes: Array, grid: tuple[int, int], dilation: int = 0, cap: int | None = None) -> Array:
    """The cells of an encoder's grid that boxes touch.

    A box covers rows ``floor(y0 * rows + 1e-6)`` to ``ceil(y1 * rows - 1e-6)`` (exclusive) and columns alike; the
    margin keeps a box that ends on a cell's edge out of the next cell.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in units of the image, 0..1 (:attr:`GazeFrame.unit_boxes`).
        grid: rows and columns of the encoder's grid.
        dilation: further cells on every side, clamped to the grid.
        cap: most cells to return, the first seen.

    Returns:
        (M, 2) int64 rows of (row, column), in the order in which boxes touch them, no cell twice.

    Raises:
        ValueError: a grid below 1 x 1, boxes out of 0..1 or upside down, negative dilation or cap.
    """
    rows, cols = grid
    if rows < 1 or cols < 1:
        raise ValueError(f"grid must be at least 1 x 1, got {rows} x {cols}")
    if dilation < 0 or (cap is not None and cap < 0):
        raise ValueError(f"dilation and cap must not be negative, got {dilation} and {cap}")
    unit = np.asarray(_numpy(boxes), np.float64).reshape(-1, 4)
    if not np.all((unit >= 0) & (unit <= 1)) or np.any(unit[:, :2] > unit[:, 2:]):
        raise ValueError("boxes must be x0 <= x1, y0 <= y1 within 0..1, in units of the image")
    low = np.floor(unit[:, [1, 0]] * (rows, cols) + 1e-6).astype(int) - dilation
    high = np.ceil(unit[:, [3, 2]] * (rows, cols) - 1e-6).astype(int) + dilation
    low, high = np.clip(low, 0, (rows, cols)), np.clip(high, 0, (rows, cols))
    seen: dict[int, None] = {}
    for (top, left), (bottom, right) in zip(low.tolist(), high.tolist(), strict=True):
        for row in range(top, bottom):
            seen.update(dict.fromkeys(range(row * cols + left, row * cols + right)))
        if cap is not None and len(seen) >= cap:
            break
    flat = np.fromiter(seen, np.int64, len(seen))[:cap]
    return _like(np.stack([flat // cols, flat % cols], axis=1), boxes)


def frame_tokens(cells: Array, grid: tuple[int, int]) -> Array:
    """(M,) int64 row-major token indices of (M, 2) cells in one frame's grid.

    Raises:
        ValueError: a cell outside the grid.
    """
    places = np.asarray(_numpy(cells), np.int64).reshape(-1, 2)
    rows, cols = grid
    if np.any((places < 0) | (places >= (rows, cols))):
        raise ValueError(f"cells must lie in the {rows} x {cols} grid")
    return _like(places[:, 0] * cols + places[:, 1], cells)


def video_tokens(cells: Sequence[Array], grid: tuple[int, int], tubelet: int = 1) -> Array:
    """The tokens of a clip that any of its frames' cells touch: ``(t * rows + row) * cols + col``.

    Args:
        cells: (M, 2) cells of each frame.
        grid: rows and columns of the encoder's grid.
        tubelet: frames that one token spans; t counts tubelets.

    Returns:
        (K,) int64, tubelet by tubelet in first-seen order, no token twice.

    Raises:
        ValueError: the number of frames is no multiple of the tubelet, or a cell lies outside the grid.
    """
    if tubelet < 1 or not len(cells) or len(cells) % tubelet:
        raise ValueError(
            f"{len(cells)} frames can't be cut into tubelets of {tubelet}: the clip must divide exactly"
        )
    seen: dict[int, None] = {}
    for frame, places in enumerate(cells):
        first = frame // tubelet * grid[0] * grid[1]
        seen.update(dict.fromkeys((np.asarray(_numpy(frame_tokens(places, grid))) + first).tolist()))
    return _like(np.fromiter(seen, np.int64, len(seen)), cells[0])


def token_coordinates(tokens: Array, grid: tuple[int, int], batch: int = 0) -> Array:
    """(K, 4) int64 rows of (batch, t, row, col) of (K,) video tokens.

    Raises:
        ValueError: a negative token.
    """
    flat = np.asarray(_numpy(tokens), np.int64).reshape(-1)
    if np.any(flat < 0):
        raise ValueError("video tokens must not be negative")
    rows, cols = grid
    table = np.stack(
        [np.full_like(flat, batch), flat // (rows * cols), flat // cols % rows, flat % cols], axis=1
    )
    return _like(table, tokens)


def batch_tokens(clips: Sequence[Array], fill: int = 0) -> tuple[Array, Array]:
    """Token lists of several clips as one rectangle.

    Args:
        clips: (K_b,) tokens of each clip.
        fill: written where a clip has fewer tokens than the longest.

    Returns:
        (B, K) int64 tokens and (B, K) bool, True in padded places.

    Raises:
        ValueError: no clip.
    """
    if not len(clips):
        raise ValueError("a batch needs at least one clip")
    lists = [np.asarray(_numpy(clip), np.int64).reshape(-1) for clip in clips]
    longest = max(map(len, lists))
    tokens = np.full((len(lists), longest), fill, np.int64)
    padded = np.ones((len(lists), longest), bool)
    for row, flat in enumerate(lists):
        tokens[row, : len(flat)] = flat
        padded[row, : len(flat)] = False
    return _like(tokens, clips[0]), _like(padded, clips[0])


@dataclass(frozen=True)
class PyramidTokens:
    """Pooled tokens of an image pyramid, the largest weights first."""

    #: (K, C) float32
    tokens: Array
    #: (K,) float32: mask density of each token's cell, 0..1
    weights: Array
    #: (K, 3) int64: pyramid level, row, column
    places: Array


def pyramid_tokens(
    features: Array, mask: Array, grids: Sequence[tuple[int, int]], top_k: int | None = None
) -> PyramidTokens:
    """Image tokens pooled at several grids, weighted by how much of each cell the gaze covers.

    The density of a cell is the mean of the mask over it; its token is the mean of its image tokens times
    that density.

    Args:
        features: (H, W, C) image tokens of any float type; gradients of a tensor flow through to the tokens.
        mask: (MH, MW) bool or float, 0..1: the gaze, at any resolution.
        grids: rows and columns of each pyramid level; each must divide both H x W and MH x MW exactly.
        top_k: keep so many tokens of the largest weight, all where None. Of equal weights the first stays first.

    Raises:
        ValueError: a grid that does not divide, or a top_k below 1.
    """
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    tensor = _is_tensor(features)
    image = features.double() if tensor else np.asarray(features, np.float64)
    density = np.asarray(_numpy(mask), np.float64)
    tokens, weights, places = [], [], []
    for level, grid in enumerate(grids):
        pooled = _pool(image, grid, "image tokens").reshape(-1, image.shape[2])
        weight = _pool(density[:, :, None], grid, "mask").reshape(-1)
        tokens.append(pooled * _like(weight[:, None], features))
        weights.append(weight)
        index = np.arange(grid[0] * grid[1])
        places.append(np.stack([np.full_like(index, level), index // grid[1], index % grid[1]], axis=1))
    all_weights = np.concatenate(weights)
    order = np.argsort(-all_weights, kind="stable")[:top_k]
    kept = (
        sys.modules["torch"].cat(tokens)[_like(order, features)].float()
        if tensor
        else np.concatenate(tokens)[order].astype(np.float32)
    )
    return PyramidTokens(
        kept,
        _like(all_weights[order].astype(np.float32), features),
        _like(np.concatenate(places)[order].astype(np.int64), features),
    )


@dataclass(frozen=True)
class SparsePatches:
    """The gazed patches of one frame, ready for an encoder that takes tokens of several scales."""

    #: (N, patch, patch, 3) uint8: each token's cell, area-averaged to its scale
    patches: Array
    #: (N, 4) float32: centre x, centre y, width, height in units of the image; 0 where padded
    positions: Array
    #: (N,) int64: token id within the frame; 0 where padded
    ids: Array
    #: (N,) int64: scale index; 0 where padded
    scales: Array
    #: (N,) bool: True where there is no token
    padded: Array


def sparse_patches(image: Array, gaze: GazeFrame, pad_to: int | None = None) -> SparsePatches:
    """The pixels that a gaze's tokens carry.

    Args:
        image: (H, W, 3) uint8 RGB of the gaze's size, array or tensor; it is squeezed into the working square first.
        gaze: of a frame that was looked at as a whole.
        pad_to: length of the result; rows beyond the tokens are zeros and flagged.

    Raises:
        ValueError: an image of another size, more tokens than ``pad_to``, or a tiled gaze.
    """
    from .frame import Frame

    pixels = np.asarray(_numpy(image))
    frame = Frame(pixels)
    if gaze.tiling.resolution != "resize":
        raise ValueError("a tiled gaze has several working images: read out each tile by itself")
    if (frame.width, frame.height) != (gaze.width, gaze.height):
        raise ValueError(
            f"the image is {frame.width} x {frame.height}, but the gaze was of {gaze.width} x {gaze.height}"
        )
    layout = gaze.layout
    count = len(gaze) if pad_to is None else pad_to
    if count < len(gaze):
        raise ValueError(f"{len(gaze)} tokens do not fit into pad_to = {pad_to}")
    working = frame.working(layout.size)
    patches = np.zeros((count, layout.patch, layout.patch, 3), np.uint8)
    places = layout.locate(gaze.ids)
    for scale in np.unique(places[:, 0]).tolist():
        cells = averaged_patches(working, layout, layout.grids[scale])
        chosen = np.flatnonzero(places[:, 0] == scale)
        patches[chosen] = cells[places[chosen, 2], places[chosen, 3]]
    number = len(gaze)
    positions = np.zeros((count, 4), np.float32)
    positions[:number] = layout.cells(gaze.ids)
    ids, scales = np.zeros(count, np.int64), np.zeros(count, np.int64)
    ids[:number], scales[:number] = gaze.ids, places[:, 0]
    padded = np.arange(count) >= number
    return SparsePatches(*(_like(part, image) for part in (patches, positions, ids, scales, padded)))


def block_causal_mask(frames: Array, padded: Array | None = None) -> Array:
    """(N, N) bool, True where a query (row) may attend to a key (column).

    Tokens of a frame see each other and every earlier frame. Padded keys are seen by nobody; a padded query
    sees itself, so that its softmax is defined.

    Args:
        frames: (N,) int: the frame of each token.
        padded: (N,) bool: True where there is no token.
    """
    index = np.asarray(_numpy(frames)).reshape(-1)
    allowed = index[:, None] >= index[None, :]
    if padded is not None:
        empty = np.asarray(_numpy(padded), bool).reshape(-1)
        allowed = np.where(empty[:, None], False, allowed & ~empty[None, :]) | np.diag(empty)
    return _like(allowed, frames)


def _pool(values: Array, grid: tuple[int, int], what: str) -> Array:
    """(rows, cols, C) block means of (H, W, C), array or tensor."""
    rows, cols = grid
    height, width, channels = values.shape
    if rows < 1 or cols < 1 or height % rows or width % cols:
        raise ValueError(f"a {rows} x {cols} grid does not divide the {height} x {width} {what} exactly")
    blocks = values.reshape(rows, height // rows, cols, width // cols, channels)
    return blocks.mean((1, 3))


def _numpy(values: Array) -> Any:
    """The values as NumPy sees them, off a GPU where they are on one."""
    if not _is_tensor(values):
        return values
    values = values.detach().cpu()
    # The one type that NumPy does not have; float32 holds all its values.
    return (values.float() if values.dtype == sys.modules["torch"].bfloat16 else values).numpy()


def _like(result: NDArray[Any], example: Array) -> Array:
    """The result as a tensor on the example's device where the example is a tensor."""
    if not _is_tensor(example):
        return result
    return sys.modules["torch"].from_numpy(np.ascontiguousarray(result)).to(example.device)


def _is_tensor(values: Any) -> bool:
    torch = sys.modules.get("torch")  # where torch is not loaded nothing is a tensor
    return torch is not None and isinstance(values, torch.Tensor)
