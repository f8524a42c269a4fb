"""Answers as serialized messages (CDR), the same bytes as the node sends. No ROS."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gaze.frame import ChannelOrder
from ..gaze.gaze_frame import GazeFrame
from ..gaze.masks import MaskStyle
from ..gaze.rows import FIXATION_DTYPE, fixation_rows
from ..images import encode_picture
from .mcap_writer import type_store

FIXATIONS = "autogaze_ros/msg/FixationArray"
MASK = "autogaze_ros/msg/GazeMask"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
IMAGE = "sensor_msgs/msg/Image"


def header(stamp: int, frame_id: str) -> Any:
    """A std_msgs/Header of a stamp in nanoseconds."""
    types = type_store().types
    seconds, nanoseconds = divmod(stamp, 1_000_000_000)
    return types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](seconds, nanoseconds), frame_id)


def fixations_cdr(gaze: GazeFrame, head: Any) -> bytes:
    """A FixationArray of a gaze."""
    message = type_store().types[FIXATIONS](header=head, fixations=[], **gaze.array_fields())
    # The fixations come last: their number, then their rows as they lie in memory.
    empty = bytes(type_store().serialize_cdr(message, FIXATIONS))
    return empty[:-4] + struct.pack("<I", len(gaze)) + fixation_rows(gaze).tobytes()


def fixations_of(data: bytes | memoryview, count: int) -> NDArray[Any]:
    """(count,) rows of a FixationArray that :func:`fixations_cdr` made and that has so many."""
    return np.frombuffer(data, FIXATION_DTYPE, count, len(data) - count * FIXATION_DTYPE.itemsize)


def mask_cdr(gaze: GazeFrame, style: MaskStyle, head: Any) -> bytes:
    """A GazeMask of a gaze."""
    layer = type_store().types["autogaze_ros/msg/MaskLayer"]
    layers = [
        layer(rows=bitmap.shape[0], cols=bitmap.shape[1], bits=np.packbits(bitmap))
        for bitmap in gaze.bitmaps(style)
    ]
    message = type_store().types[MASK](header=head, layers=layers, **gaze.mask_fields(style))
    return bytes(type_store().serialize_cdr(message, MASK))


def compressed_cdr(pixels: NDArray[np.uint8], order: ChannelOrder, quality: int, head: Any) -> bytes:
    """A CompressedImage of a picture: (H, W, 3) as JPEG, (H, W, 4) as PNG."""
    data, kind = encode_picture(pixels, order, quality)
    message = type_store().types[COMPRESSED](header=head, format=kind, data=data.ravel())
    return bytes(type_store().serialize_cdr(message, COMPRESSED))


def image_cdr(pixels: NDArray[np.uint8], encoding: str, head: Any) -> bytes:
    """An Image of (H, W) or (H, W, C) uint8 pixels."""
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    message = type_store().types[IMAGE](
        header=head,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // height,
        data=pixels.ravel(),
    )
    return bytes(type_store().serialize_cdr(message, IMAGE))
