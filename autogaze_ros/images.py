"""Image messages to frames, and pictures to the bytes of messages. No ROS.

What is read here has the fields of sensor_msgs/Image or CompressedImage, whoever made it: rclpy, or rosbags
from a recording. So the node and the replay tool see the same pixels.

rgb8 and bgr8 images become frames without a copy, padded rows included. The other encodings go through
cv_bridge where it is installed and works and the image is as it expects, through OpenCV otherwise, with equal pixels.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import subprocess
import sys
from functools import cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .gaze.frame import ChannelOrder, Frame

#: A JPEG's marks but those that come inside a scan's data: stuffed bytes, fill bytes and restarts.
_JPEG_MARK = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")

#: sensor_msgs/Image, or CompressedImage, of any library: only the fields count.
ImageLike = Any


class ImageError(ValueError):
    """An image message that can't be used; the message names what is wrong and the remedy.

    Args:
        cause: a short key for counters: size, step, short, encoding or undecodable.
        text: for people.
    """

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


#: encoding -> (channels, bytes a channel, OpenCV conversion to RGB)
_PACKED: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (3, 1, None),
    "bgr8": (3, 1, None),
    "8UC3": (3, 1, None),  # OpenCV's own name: blue first
    "rgba8": (4, 1, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, 1, cv2.COLOR_BGRA2RGB),
    "8UC4": (4, 1, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, 1, cv2.COLOR_GRAY2RGB),
    "mono16": (1, 2, cv2.COLOR_GRAY2RGB),
    "16UC1": (1, 2, cv2.COLOR_GRAY2RGB),
    # OpenCV names a Bayer pattern by its second row, ROS by its first.
    "bayer_rggb8": (1, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": (2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, 1, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, 1, cv2.COLOR_YUV2RGB_YUY2),
}
#: of these, what every cv_bridge converts
_CV_BRIDGE = frozenset(("rgba8", "bgra8", "mono8", "mono16", "yuv422", *(e for e in _PACKED if "bayer" in e)))
#: a full plane of Y, then half as many rows of interleaved colour
_PLANAR = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
ENCODINGS = (*_PACKED, *_PLANAR)


def stamp_of(message: ImageLike) -> int:
    """The header's stamp in nanoseconds."""
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def frame_from_image(message: ImageLike) -> Frame:
    """A frame of an image message; its pixels are a view of the message's data for rgb8 and bgr8.

    Raises:
        ImageError: zero size, a step or a buffer too small, an encoding that is not known.
    """
    encoding, width, height = message.encoding, int(message.width), int(message.height)
    if width < 1 or height < 1:
        raise ImageError(
            "size", f"image of {width} x {height} pixels: the camera driver must fill width and height"
        )
    if encoding in _PLANAR:
        pixels, order = _planar(message, width, height), "rgb"
    elif encoding in _PACKED:
        pixels, order = _packed(message, width, height)
    elif (bridge := find_cv_bridge()) is not None:
        pixels, order = _unknown(bridge, message), "rgb"
    else:
        raise ImageError(
            "encoding",
            f"encoding '{encoding}' is not known; make the camera driver or image_proc send one of: "
            f"{', '.join(ENCODINGS)}",
        )
    return Frame(pixels, stamp_of(message), order, encoding)  # type: ignore[arg-type]


def frame_from_compressed(message: ImageLike) -> Frame:
    """A frame of a JPEG or PNG message, decoded.

    Raises:
        ImageError: another format, or data that is cut off or can't be decoded.
    """
    data = np.frombuffer(message.data, np.uint8)
    kind = compressed_kind(data[:8].tobytes())
    if not kind:
        raise ImageError(
            "undecodable",
            f"compressed image of format '{message.format}' is neither JPEG nor PNG; "
            "set the publisher's format to one of these",
        )
    pixels = decoded(data)
    if pixels is None:
        raise ImageError(
            "undecodable",
            f"{kind} image of {data.size} bytes is cut off or damaged; check the publisher and the network",
        )
    return Frame(pixels, stamp_of(message), "bgr", message.format)


def compressed_kind(raw: bytes) -> str:
    """jpeg or png; empty where the data is neither."""
    return "jpeg" if raw.startswith(b"\xff\xd8") else "png" if raw.startswith(b"\x89PNG\r\n\x1a\n") else ""


def decoded(data: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 BGR of an encoded image; None where it is cut off or can't be decoded.

    Args:
        data: (N,) uint8, of any format that OpenCV reads. That JPEG and PNG are whole is checked.
    """
    raw = data.tobytes()
    # OpenCV fills what is missing of a cut JPEG with grey and says nothing.
    whole = {"jpeg": _whole_jpeg, "png": _whole_png}.get(compressed_kind(raw), len)
    if whole(raw):
        # The camera's own pixel grid counts, whatever way up an EXIF tag would show it.
        with contextlib.suppress(cv2.error):  # such as a header that claims a size beyond all bounds
            return cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return None


def _whole_jpeg(raw: bytes) -> bool:
    """Whether the end mark is reached; cameras put more behind it, thumbnails with marks of their own before it."""
    at = 2
    while mark := _JPEG_MARK.search(raw, at):
        at = mark.end()
        if mark[0] == b"\xff\xd9":
            return True
        at += int.from_bytes(raw[at : at + 2], "big")  # a segment; behind a scan's header its data follow
    return False


def _whole_png(raw: bytes) -> bool:
    """Whether the last chunk is reached."""
    at = 8
    while at + 12 <= len(raw):
        if raw[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(raw[at : at + 4], "big")
    return False


def encode_picture(
    pixels: NDArray[np.uint8], order: ChannelOrder, quality: int
) -> tuple[NDArray[np.uint8], str]:
    """The data and the format of a compressed message of a picture.

    Args:
        pixels: (H, W, 3) uint8, which becomes a JPEG, or (H, W, 4) with transparency, which becomes a PNG.
        order: of the channels.
        quality: of a JPEG, 1..100.

    Returns:
        (N,) uint8, and the format as image_transport writes it.
    """
    if pixels.shape[2] == 4:
        bgr = pixels if order == "bgr" else cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA)
        return cv2.imencode(".png", bgr)[1], f"{order}a8; png compressed bgra8"
    bgr = pixels if order == "bgr" else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return encoded, f"{order}8; jpeg compressed bgr8"


def _packed(message: ImageLike, width: int, height: int) -> tuple[NDArray[np.uint8], ChannelOrder]:
    encoding = message.encoding
    channels, depth, conversion = _PACKED[encoding]
    if channels == 2 and width % 2:
        raise ImageError("size", f"a {encoding} image needs an even width, got {width}")
    if encoding.startswith("bayer") and min(width, height) < 4:
        raise ImageError("size", f"a {encoding} image needs at least 4 x 4 pixels, got {width} x {height}")
    data = _data(message, width * channels * depth, height)
    step = int(message.step)
    if conversion is None:
        return np.ndarray(
            (height, width, 3), np.uint8, data, 0, (step, 3, 1)
        ), "rgb" if encoding == "rgb8" else "bgr"
    plain = step == width * channels * depth and _is_native(message)
    if plain and encoding in _CV_BRIDGE and (bridge := find_cv_bridge()) is not None:
        return _through_cv_bridge(bridge, message), "rgb"
    if depth == 2:
        wide = np.ndarray((height, width), ">u2" if message.is_bigendian else "<u2", data, 0, (step, 2))
        # White stays white, as cv_bridge does it.
        grey = cv2.convertScaleAbs(wide.astype(np.uint16), alpha=255 / 65535)
        return cv2.cvtColor(grey, conversion), "rgb"
    shape, strides = (height, width, channels), (step, channels, 1)
    pixels = (
        np.ndarray(shape, np.uint8, data, 0, strides)
        if channels > 1
        else np.ndarray(shape[:2], np.uint8, data, 0, strides[::2])
    )
    return cv2.cvtColor(pixels, conversion), "rgb"


def _planar(message: ImageLike, width: int, height: int) -> NDArray[np.uint8]:
    if width % 2 or height % 2:
        raise ImageError(
            "size", f"a {message.encoding} image needs an even width and height, got {width} x {height}"
        )
    rows = height * 3 // 2
    data = _data(message, width, rows)
    planes = np.ndarray((rows, width), np.uint8, data, 0, (int(message.step), 1))
    return cv2.cvtColor(np.ascontiguousarray(planes), _PLANAR[message.encoding])


def _data(message: ImageLike, row_bytes: int, rows: int) -> NDArray[np.uint8]:
    """The message's bytes as a flat view, sure to hold so many rows of so many bytes."""
    step, data = int(message.step), np.frombuffer(message.data, np.uint8)
    if step < row_bytes:
        raise ImageError(
            "step", f"step of {step} bytes is less than a row of {row_bytes}; the camera driver must set step"
        )
    needed = step * (rows - 1) + row_bytes
    if data.size < needed:
        what = f"{message.width} x {message.height} {message.encoding} image"
        raise ImageError(
            "short", f"{what} needs {needed} bytes, got {data.size}; the driver or a relay cut it off"
        )
    return data


@cache
def find_cv_bridge() -> Any | None:
    """A CvBridge that works, or None; the first call takes a second or more where cv_bridge is installed.

    One that was built for another NumPy ends the whole process on its first colour conversion, so a
    process of its own tries first.
    """
    if importlib.util.find_spec("cv_bridge") is None:
        return None
    trial = (
        "import numpy, cv_bridge; b = cv_bridge.CvBridge(); "
        "m = b.cv2_to_imgmsg(numpy.zeros((2, 2), numpy.uint8), 'mono8'); b.imgmsg_to_cv2(m, 'rgb8')"
    )
    try:
        works = subprocess.run([sys.executable, "-c", trial], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        works = False
    if not works:
        return None
    import cv_bridge

    return cv_bridge.CvBridge()


def _is_native(message: ImageLike) -> bool:
    """Whether the message's byte order is this machine's; cv_bridge goes by that for single bytes, too."""
    return bool(message.is_bigendian) == (sys.byteorder == "big")


def _unknown(bridge: Any, message: ImageLike) -> NDArray[np.uint8]:
    """The pixels of an encoding that cv_bridge alone may know, handed to it without padding and in native order.

    It takes padding for pixels where that is no whole number of them, wants it after the last row too, and with
    NumPy 2 fails on swapped bytes.
    """
    try:
        kind, channels = bridge.encoding_to_dtype_with_channels(message.encoding)
        depth = np.dtype(kind).itemsize
    except Exception as error:  # of several kinds, all of them about the encoding
        raise ImageError(
            "encoding", f"encoding '{message.encoding}' is not known to cv_bridge: {error}"
        ) from error
    width, height = int(message.width), int(message.height)
    row, step = width * channels * depth, int(message.step)
    data = _data(message, row, height)
    rows = np.ascontiguousarray(np.ndarray((height, row), np.uint8, data, 0, (step, 1)))
    if not _is_native(message):
        rows = rows.view(f"u{depth}").byteswap().view(np.uint8)
    tight = SimpleNamespace(
        header=message.header, encoding=message.encoding, width=width, height=height, step=row, data=rows.data
    )
    tight.is_bigendian = int(sys.byteorder == "big")
    return _through_cv_bridge(bridge, tight)


def _through_cv_bridge(bridge: Any, message: ImageLike) -> NDArray[np.uint8]:
    try:
        pixels = bridge.imgmsg_to_cv2(message, "rgb8")
    except Exception as error:  # cv_bridge raises several kinds, all of them about this message
        raise ImageError(
            "encoding", f"encoding '{message.encoding}' could not be converted by cv_bridge: {error}"
        ) from error
    return np.ascontiguousarray(pixels, dtype=np.uint8)
