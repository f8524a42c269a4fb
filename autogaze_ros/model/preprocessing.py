"""From a camera frame to the network's input, pixel for pixel as the published model was trained.

1. Resize the uint8 picture with an antialiased bilinear filter. Training used Pillow, whose filter works in fixed
   point: 22-bit coefficients, columns first, rounded to uint8, then rows, rounded again. (Pillow 13 and later take
   rows first where the height shrinks far more than the width.) A float resize differs from it by whole grey
   levels here and there, so the same integers are computed here. Each coefficient is split into a high and a low
   part: products and sums then stay below 2**24, so that float32 matrix products hold them exactly, and any BLAS
   gives the same picture.
2. Scale and shift to floats, then subtract the mean and divide by the deviation of ImageNet.
3. Bring the result to the network's square by bicubic interpolation, without antialias (the aspect is lost; it is
   no step at all where the resize already made that square).
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .config import PREPROCESSOR_FILE, PreprocessorConfig
from .errors import FrameError

PRECISION_BITS = 22  # Pillow's: 32 bits less 8 for the pixel and 2 for overshoot
_LOW_BITS = 7  # how a coefficient is split; exact for filters of up to 512 taps
_MAX_TAPS = 1 << (24 - 8 - _LOW_BITS)
_COLUMNS, _ROWS = 8, 32  # outputs of one small matrix product; columns are wider by their channels


def check_frame(frame: Any) -> tuple[int, int]:
    """(height, width) of a uint8 (H, W, 3) array or tensor; raises a `FrameError` for anything else."""
    if not isinstance(frame, (np.ndarray, torch.Tensor)):
        raise FrameError(f"a frame must be a NumPy array or a torch tensor, is {type(frame).__name__}")
    if frame.ndim != 3 or frame.shape[2] != 3:
        shape = tuple(frame.shape)
        raise FrameError(
            f"a frame must be (height, width, 3), is {shape}; turn a grey or RGBA picture into RGB"
        )
    if frame.dtype not in (np.uint8, torch.uint8):
        raise FrameError(f"a frame must be uint8 in 0..255, is {frame.dtype}")
    if frame.shape[0] < 1 or frame.shape[1] < 1:
        raise FrameError(f"a frame must have at least one pixel, is {tuple(frame.shape)}")
    return int(frame.shape[0]), int(frame.shape[1])


def as_tensor(frame: np.ndarray | torch.Tensor) -> torch.Tensor:
    """The frame as a tensor over the same memory (copied only where its strides cannot be expressed)."""
    if isinstance(frame, torch.Tensor):
        return frame
    frame = np.ascontiguousarray(frame)
    if not frame.flags.writeable:
        # A received image is often a read-only buffer. It is only read here, so torch's warning about
        # writing to it, and the copy that would silence it, are both avoided by taking its address.
        buffer = (ctypes.c_uint8 * frame.size).from_address(frame.ctypes.data)
        view = torch.frombuffer(buffer, dtype=torch.uint8).view(frame.shape)
        view._source = frame  # type: ignore[attr-defined]  # keeps the memory alive
        return view
    return torch.from_numpy(frame)


def resized_shape(height: int, width: int, config: PreprocessorConfig) -> tuple[int, int]:
    """(height, width) after step 1, before the crop."""
    if not config.do_resize:
        return height, width
    if config.shortest_edge is None:
        assert config.height is not None
        assert config.width is not None
        return config.height, config.width
    edge, short, long = config.shortest_edge, min(height, width), max(height, width)
    longer = max(1, int(edge * long / short))
    return (edge, longer) if height <= width else (longer, edge)


def preprocess(frame: torch.Tensor, config: PreprocessorConfig, bgr: bool = False) -> torch.Tensor:
    """Steps 1 and 2.

    Args:
        frame: uint8 (H, W, 3), RGB, on any device.
        bgr: the frame's channels are in the order blue, green, red.

    Returns:
        float32 (3, h, w) RGB on the frame's device; with the released settings about -2.2 .. 2.7.
    """
    picture = resize(frame, *resized_shape(frame.shape[0], frame.shape[1], config))
    if config.crop is not None:
        picture = _center_crop(picture, config.crop)
    if bgr:
        picture = picture.flip(-1)
    gain, shift = _affine(config, frame.device)
    planes = picture.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return torch.addcmul(shift, planes, gain)


def to_square(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Step 3: float (..., 3, h, w) -> (..., 3, side, side)."""
    if pixels.shape[-2:] == (side, side):
        return pixels
    flat = pixels.reshape(-1, *pixels.shape[-3:])
    flat = F.interpolate(flat, size=(side, side), mode="bicubic", align_corners=False, antialias=False)
    return flat.reshape(*pixels.shape[:-2], side, side)


def resize(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pillow's antialiased bilinear resize.

    Args:
        picture: uint8 (H, W, 3).

    Returns:
        (height, width, 3) with whole values 0..255 (uint8 as it was, or float where a pass was computed).
    """
    if picture.shape[1] != width:
        picture = _resize_columns(picture, width)
    if picture.shape[0] != height:
        picture = _resize_rows(picture, height)
    return picture


@dataclass(frozen=True)
class _Block:
    """A few neighbouring outputs: inputs `start`..`stop` times (inputs, high and then low parts of outputs)."""

    start: int
    stop: int
    weights: torch.Tensor


def coefficients(size: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """The triangle filter in fixed point.

    Returns:
        first input of each output, int64 (target,), and its coefficients, int64 (target, taps), in units
        of 2**-22, zero behind the last input.
    """
    scale = size / target
    support = max(scale, 1.0)  # a triangle of half-width 1 output pixel, at least 1 input pixel
    center = (np.arange(target) + 0.5) * scale
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    last = np.minimum((center + support + 0.5).astype(np.int64), size)
    taps = np.arange(int((last - first).max()))
    distance = np.abs((taps[None] + first[:, None] - center[:, None] + 0.5) * (1.0 / support))
    weights = np.where(taps[None] < (last - first)[:, None], np.maximum(1.0 - distance, 0.0), 0.0)
    # Pillow adds the weights one after another; a pairwise sum could differ in the last bit.
    weights = weights / np.cumsum(weights, axis=1)[:, -1:]
    return first, (weights * (1 << PRECISION_BITS) + 0.5).astype(np.int64)


@functools.lru_cache(maxsize=32)
def _blocks(size: int, target: int, channels: int, outputs: int, device: torch.device) -> tuple[_Block, ...]:
    """The filter as dense matrices along its diagonal band, each for so many outputs (the last may hold zeros).

    `channels` > 1 interleaves them (a row of RGB pixels is one vector), so that no picture is transposed.
    """
    first, coefficient = coefficients(size, target)
    if coefficient.shape[1] >= _MAX_TAPS:
        raise FrameError(
            f"a side of {size} pixels is too large to be resized to {target}; scale it down first"
        )
    blocks = []
    for begin in range(0, target, outputs):
        rows = range(begin, min(begin + outputs, target))
        start = int(first[begin])
        stop = min(size, max(int(first[row]) + coefficient.shape[1] for row in rows))
        band = np.zeros((stop - start, outputs), np.int64)
        for column, row in enumerate(rows):
            used = coefficient[row][: stop - int(first[row])]
            band[int(first[row]) - start :][: len(used), column] = used
        parts = [np.kron(part, np.eye(channels, dtype=np.int64)) for part in divmod(band, 1 << _LOW_BITS)]
        weights = torch.from_numpy(np.concatenate(parts, axis=1)).to(device, _exact_dtype(device))
        blocks.append(_Block(start, stop, weights))
    return tuple(blocks)


def _exact_dtype(device: torch.device) -> torch.dtype:
    # On CUDA a caller may have allowed TF32 for float32 products, which would round the integers.
    return torch.float32 if device.type == "cpu" else torch.float64


def _resize_columns(picture: torch.Tensor, width: int) -> torch.Tensor:
    height, size, channels = picture.shape
    rows = picture.reshape(height, size * channels).to(_exact_dtype(picture.device))
    blocks = _blocks(size, width, channels, _COLUMNS, picture.device)
    parts = rows.new_empty(height, len(blocks), 2, _COLUMNS * channels)
    for i, block in enumerate(blocks):
        seen = rows[:, block.start * channels : block.stop * channels]
        torch.mm(seen, block.weights, out=parts[:, i].flatten(1))
    result = _round(*parts.unbind(2)).flatten(1)
    return result[:, : width * channels].reshape(height, width, channels)


def _resize_rows(picture: torch.Tensor, height: int) -> torch.Tensor:
    size, width, channels = picture.shape
    columns = picture.reshape(size, width * channels).to(_exact_dtype(picture.device))
    blocks = _blocks(size, height, 1, _ROWS, picture.device)
    parts = columns.new_empty(len(blocks), 2, _ROWS, width * channels)
    for i, block in enumerate(blocks):
        torch.mm(block.weights.t(), columns[block.start : block.stop], out=parts[i].flatten(0, 1))
    return _round(*parts.unbind(1)).flatten(0, 1)[:height].view(height, width, channels)


def _round(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """Fixed point to whole grey levels, halves up; overwrites both.

    The carry of the low part, and then every sum, is a whole number below 2**24: exact in float32. The filter has
    no negative weight, so nothing overshoots.
    """
    high.add_(low.mul_(2.0**-_LOW_BITS).floor_()).add_(2.0 ** (PRECISION_BITS - _LOW_BITS - 1))
    return high.mul_(2.0 ** (_LOW_BITS - PRECISION_BITS)).floor_().clamp_(max=255.0)


def _center_crop(picture: torch.Tensor, crop: tuple[int, int]) -> torch.Tensor:
    height, width = crop
    if height > picture.shape[0] or width > picture.shape[1]:
        raise FrameError(
            f"{PREPROCESSOR_FILE}: crop_size {height} x {width} is larger than the resized frame "
            f"({picture.shape[0]} x {picture.shape[1]}); padding is not supported"
        )
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


@functools.lru_cache(maxsize=8)
def _affine(config: PreprocessorConfig, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """((v * scale + offset) - mean) / std as v * gain + shift, each (3, 1, 1)."""
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (config.mean, config.std))
    gain, shift = config.scale / std, (config.offset - mean) / std
    return gain.float().view(3, 1, 1).to(device), shift.float().view(3, 1, 1).to(device)
