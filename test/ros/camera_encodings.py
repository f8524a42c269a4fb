"""Pictures in every encoding that a camera may send, made without the code under test and without OpenCV."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

Pixels = NDArray[np.uint8]


def _grey(rgb: Pixels) -> Pixels:
    return np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def _wide(order: str) -> Callable[[Pixels], Pixels]:
    return lambda rgb: (_grey(rgb).astype(np.uint16) * 257).astype(f"{order}u2").view(np.uint8)


def _bayer(pattern: str) -> Callable[[Pixels], Pixels]:
    def mosaic(rgb: Pixels) -> Pixels:
        rows = np.empty(rgb.shape[:2], np.uint8)
        for place, colour in enumerate(pattern):
            y, x = divmod(place, 2)
            rows[y::2, x::2] = rgb[y::2, x::2, "rgb".index(colour)]
        return rows

    return mosaic


def _yuv(rgb: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Video-range BT.601 planes of full size."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    return tuple(np.rint(plane).astype(np.uint8) for plane in (y, u, v))  # type: ignore[return-value]


def _packed_yuv(order: str) -> Callable[[Pixels], Pixels]:
    def pack(rgb: Pixels) -> Pixels:
        y, u, v = _yuv(rgb)
        parts = {"0": y[:, ::2], "1": y[:, 1::2], "u": u[:, ::2], "v": v[:, ::2]}
        return np.stack([parts[part] for part in order], axis=-1).reshape(len(rgb), -1)

    return pack


def _planar_yuv(order: str) -> Callable[[Pixels], Pixels]:
    def pack(rgb: Pixels) -> Pixels:
        y, u, v = _yuv(rgb)
        parts = {"u": u[::2, ::2], "v": v[::2, ::2]}
        colour = np.stack([parts[part] for part in order], axis=-1).reshape(len(rgb) // 2, -1)
        return np.vstack([y, colour])

    return pack


def _with_alpha(rgb: Pixels) -> Pixels:
    return np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 77, np.uint8)], axis=-1)


#: name: encoding, whether big-endian, rows of bytes of an RGB picture
ENCODED: dict[str, tuple[str, bool, Callable[[Pixels], Pixels]]] = {
    "rgb8": ("rgb8", False, lambda rgb: rgb),
    "bgr8": ("bgr8", False, lambda rgb: rgb[..., ::-1]),
    "rgba8": ("rgba8", False, _with_alpha),
    "bgra8": ("bgra8", False, lambda rgb: _with_alpha(rgb[..., ::-1])),
    "mono8": ("mono8", False, _grey),
    "mono16, little-endian": ("mono16", False, _wide("<")),
    "mono16, big-endian": ("mono16", True, _wide(">")),
    "16UC1, little-endian": ("16UC1", False, _wide("<")),
    "16UC1, big-endian": ("16UC1", True, _wide(">")),
    "bayer_rggb8": ("bayer_rggb8", False, _bayer("rggb")),
    "bayer_bggr8": ("bayer_bggr8", False, _bayer("bggr")),
    "bayer_gbrg8": ("bayer_gbrg8", False, _bayer("gbrg")),
    "bayer_grbg8": ("bayer_grbg8", False, _bayer("grbg")),
    "yuv422": ("yuv422", False, _packed_yuv("u0v1")),
    "yuv422_yuy2": ("yuv422_yuy2", False, _packed_yuv("0u1v")),
    "nv12": ("nv12", False, _planar_yuv("uv")),
    "nv21": ("nv21", False, _planar_yuv("vu")),
}


def encoded(name: str, rgb: Pixels, padding: int = 0) -> Image:
    """A message of an RGB picture, each row followed by so many odd bytes."""
    encoding, big, pack = ENCODED[name]
    rows = np.ascontiguousarray(pack(rgb))
    rows = rows.reshape(len(rows), -1)
    rows = np.hstack([rows, np.full((len(rows), padding), 0xA5, np.uint8)])
    message = Image(encoding=encoding, is_bigendian=int(big), step=rows.shape[1], data=rows.tobytes())
    message.height, message.width = rgb.shape[:2]
    return message


def meant(name: str, rgb: Pixels) -> tuple[Pixels, float]:
    """What the message shows, and by how many grey levels in the mean its decoded pixels may be off."""
    encoding = ENCODED[name][0]
    if encoding in ("rgb8", "bgr8", "rgba8", "bgra8"):
        return rgb, 0
    if "mono" in encoding or encoding == "16UC1":
        return np.repeat(_grey(rgb)[..., None], 3, axis=-1), 0
    return rgb, 3  # colours are known at every second pixel only
