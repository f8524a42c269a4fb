"""One camera image on its way through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
ChannelOrder = Literal["rgb", "bgr"]


@dataclass
class Frame:
    """A colour image with its stamp; the pixels are never copied or written to.

    Args:
        pixels: (H, W, 3) uint8, any strides.
        stamp: nanoseconds of the image's own clock.
        order: order of the colour channels in ``pixels``.
        encoding: what the camera called its pixels ("rgb8", "nv12", ...); a change of it resets the stream.

    Raises:
        ValueError: not (H, W, 3) uint8, or an empty image.
    """

    pixels: Image
    stamp: int = 0
    order: ChannelOrder = "rgb"
    encoding: str = ""
    _working: dict[int, Image] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        shape, dtype = np.shape(self.pixels), getattr(self.pixels, "dtype", type(self.pixels).__name__)
        if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
            raise ValueError(f"a frame is a (height, width, 3) uint8 array, got {dtype} of shape {shape}")
        if shape[0] < 1 or shape[1] < 1:
            raise ValueError(f"a frame needs at least one pixel, got {shape[1]} x {shape[0]}")
        if self.order not in ("rgb", "bgr"):
            raise ValueError(f"channel order must be 'rgb' or 'bgr', got {self.order!r}")

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    def working(self, size: int) -> Image:
        """(size, size, 3) uint8 RGB: the whole frame squeezed into a square, computed once a size.

        The filter is bilinear with antialias, as in the AutoGaze model's preprocessing; a large frame is
        halved by averaging first, for speed.
        """
        if size not in self._working:
            self._working[size] = _shrink(self.pixels, size, self.order)
        return self._working[size]

    def rgb(self) -> Image:
        """(H, W, 3) uint8 RGB; a view where the order already is RGB or can be flipped by strides."""
        return self.pixels if self.order == "rgb" else self.pixels[:, :, ::-1]


def _shrink(pixels: Image, size: int, order: ChannelOrder) -> Image:
    # Imported here, so that the token geometry is there where these are not installed.
    import cv2
    from PIL import Image as PilImage

    # Halving takes a vector path, so the general resize gets fewer pixels. An odd edge row or column is
    # left out of a halving: less than half a pixel of the result.
    while min(pixels.shape[:2]) >= 3 * size:
        even = pixels[: pixels.shape[0] & ~1, : pixels.shape[1] & ~1]
        pixels = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if pixels.shape[:2] != (size, size):
        small = PilImage.fromarray(np.ascontiguousarray(pixels)).resize(
            (size, size), PilImage.Resampling.BILINEAR
        )
        pixels = np.asarray(small)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if order == "bgr" else np.ascontiguousarray(pixels)
