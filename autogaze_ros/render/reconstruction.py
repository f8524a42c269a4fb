"""The full-resolution picture of a receiver that was sent only the gazed cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..gaze.frame import Frame
from ..gaze.gaze_frame import GazeFrame


class Reconstruction:
    """A persistent image of one camera: source pixels inside each frame's gazed cells, older ones elsewhere.

    A keyframe copies everything, as does the first frame after frames that were not given here.
    """

    def __init__(self) -> None:
        self._image: NDArray[np.uint8] | None = None
        self._next = 0

    def update(self, frame: Frame, gaze: GazeFrame) -> NDArray[np.uint8]:
        """Write a frame's gazed pixels and return the picture.

        Returns:
            (H, W, 3) uint8 in the frame's channel order; the next call changes it.
        """
        image = self._image
        fresh = gaze.keyframe or gaze.sequence != self._next
        self._next = gaze.sequence + 1
        if image is None or image.shape != frame.pixels.shape:
            image = self._image = frame.pixels.copy()
        elif fresh:
            image[:] = frame.pixels
        else:
            covered = np.where(gaze.coverage.counts > 0, 0, -1)
            for x0, y0, x1, y1, _ in gaze.coverage.rectangles(covered):
                image[y0:y1, x0:x1] = frame.pixels[y0:y1, x0:x1]
        return image
