"""From a camera frame to the network's input, pixel for pixel as the published model was trained.

1. Resize the uint8 picture with an antialiased bilinear filter. Training used Pillow, whose filter works in fixed
   point: 22-bit coefficients, columns first, rounded to uint8, then rows, rounded again. A float resize differs from it
   by whole grey levels here and there. So on the CPU Pillow does it, side by side, as Pillow 13 and later would
   take rows first where the height shrinks far more than the width. On a GPU the same integers are computed with
   matrix products in float64, which hold them exactly.
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
from PIL import Image

from .config import PREPROCESSOR_FILE, PreprocessorConfig
from .errors import FrameError

PRECISION_BITS = 22  # Pillow's: 32 bits less 8 for the pixel and 2 for overshoot
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
    if picture.device.type == "cpu":  # NumPy takes channels apart several times faster
        planes = torch.from_numpy(np.ascontiguousarray(picture.numpy().transpose(2, 0, 1)).astype(np.float32))
    else:
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
        (height, width, 3) with whole values 0..255: uint8 on the CPU, on a GPU float64 where a pass was computed.
    """
    if picture.device.type == "cpu":
        image = Image.fromarray(picture.numpy())
        # A pass at a time: together Pillow would choose their order.
        for size in ((width, picture.shape[0]), (width, height)):
            if image.size != size:
                image = image.resize(size, Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image))
    return resize_by_products(picture, height, width)


def resize_by_products(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """What `resize` gives, as float64 matrix products on any device."""
    if picture.shape[1] != width:
        picture = _resize_columns(picture, width)
    if picture.shape[0] != height:
        picture = _resize_rows(picture, height)
    return picture


@dataclass(frozen=True)
class _Block:
    """A few neighbouring outputs: inputs `start`..`stop` times (inputs, outputs)."""

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
    blocks = []
    for begin in range(0, target, outputs):
        rows = range(begin, min(begin + outputs, target))
        start = int(first[begin])
        stop = min(size, max(int(first[row]) + coefficient.shape[1] for row in rows))
        band = np.zeros((stop - start, outputs), np.int64)
        for column, row in enumerate(rows):
            used = coefficient[row][: stop - int(first[row])]
            band[int(first[row]) - start :][: len(used), column] = used
        weights = torch.from_numpy(np.kron(band, np.eye(channels))).to(device)
        blocks.append(_Block(start, stop, weights))
    return tuple(blocks)


def _resize_columns(picture: torch.Tensor, width: int) -> torch.Tensor:
    height, size, channels = picture.shape
    rows = picture.reshape(height, size * channels).double()
    blocks = _blocks(size, width, channels, _COLUMNS, picture.device)
    parts = [rows[:, block.start * channels : block.stop * channels] @ block.weights for block in blocks]
    return _round(torch.cat(parts, 1))[:, : width * channels].reshape(height, width, channels)


def _resize_rows(picture: torch.Tensor, height: int) -> torch.Tensor:
    size, width, channels = picture.shape
    columns = picture.reshape(size, width * channels).double()
    blocks = _blocks(size, height, 1, _ROWS, picture.device)
    parts = [block.weights.t() @ columns[block.start : block.stop] for block in blocks]
    return _round(torch.cat(parts))[:height].view(height, width, channels)


def _round(fixed: torch.Tensor) -> torch.Tensor:
    """Fixed point to whole grey levels, halves up; overwrites it.

    The filter has no negative weight, so nothing overshoots.
    """
    return fixed.mul_(2.0**-PRECISION_BITS).add_(0.5).floor_().clamp_(max=255.0)


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
