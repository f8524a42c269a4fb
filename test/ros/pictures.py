"""Pictures to send: drawn, the same every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scene(index: int = 0, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: a patterned background, a few flickering pixels, and a square that moves."""
    y, x = np.mgrid[:height, :width]
    waves = 20 * np.sin(x / 9.0) + 20 * np.cos(y / 7.0)
    picture = np.stack([90 + x * 80 / width + waves, 110 + y * 60 / height - waves, 120 + waves], axis=-1)
    picture[::16, ::16] += index % 3  # too little to be gazed at
    side = min(width, height) // 8
    left, top = (index * width // 12) % (width - side), (index * height // 9) % (height - side)
    picture[top : top + side, left : left + side] = (250, 220, 30)
    return picture.astype(np.uint8)
