"""Image messages to frames (see :mod:`autogaze_ros.images`) and back."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from ..gaze.frame import ChannelOrder
from ..images import (
    ENCODINGS,
    ImageError,
    encode_picture,
    find_cv_bridge,
    frame_from_compressed,
    frame_from_image,
    stamp_of,
)

__all__ = [
    "ENCODINGS",
    "ImageError",
    "compressed_message",
    "find_cv_bridge",
    "frame_from_compressed",
    "frame_from_image",
    "image_message",
    "stamp_of",
]


def image_message(pixels: NDArray[np.uint8], encoding: str, header: Any) -> Image:
    """An image message.

    Args:
        pixels: (H, W) or (H, W, C) uint8; contiguous arrays are copied once, as the message owns its bytes.
        encoding: rgb8, bgr8, mono8...
        header: of the image that this one answers.
    """
    pixels = np.ascontiguousarray(pixels)
    data = array.array("B")  # anything but an array is copied byte by byte by the message's setter
    data.frombytes(memoryview(pixels).cast("B"))
    height, width = pixels.shape[:2]
    return Image(
        header=header, height=height, width=width, encoding=encoding, step=pixels.nbytes // height, data=data
    )


def compressed_message(
    pixels: NDArray[np.uint8], order: ChannelOrder, quality: int, header: Any
) -> CompressedImage:
    """A compressed message of a picture in either channel order.

    Args:
        pixels: (H, W, 3) uint8, which becomes a JPEG, or (H, W, 4) with transparency, which becomes a PNG.
        order: of the channels.
        quality: of a JPEG, 1..100.
        header: of the image that this one answers.
    """
    encoded, kind = encode_picture(pixels, order, quality)
    data = array.array("B")
    data.frombytes(memoryview(encoded).cast("B"))
    return CompressedImage(header=header, format=kind, data=data)
