"""The patch difference source: look where the picture changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..receiver import TokenReceiver
from ..tokens import DEFAULT_LAYOUT, TokenLayout
from .base import Gaze, Limits


class PatchDiffSource:
    """Gazes at each finest cell whose mean absolute change reaches a threshold, the largest changes first.

    A cell's change is taken against the last frame that was *accepted into that cell*, so that slow
    drift adds up until it is seen; a cell that none was accepted into since the keyframe counts as changed
    by full scale. With hysteresis, a cell that was gazed at in the frame before needs only that share of the
    threshold. Confidence is change / (change + threshold): 0.5 at the threshold.
    """

    name = "patch_diff"
    model = ""
    device = "cpu"

    def __init__(self, layout: TokenLayout = DEFAULT_LAYOUT) -> None:
        self.layout = layout
        self._accepted: NDArray[np.uint8] | None = None
        self._gazed = np.zeros(layout.grids[-1] ** 2, bool)
        self._seen = np.zeros_like(self._gazed)

    def another(self) -> PatchDiffSource:
        """A source that has seen nothing yet."""
        return PatchDiffSource(self.layout)

    def step(self, frame: Frame, receiver: TokenReceiver, limits: Limits, keyframe: bool) -> Gaze:
        """Choose by change alone."""
        image = frame.working(self.layout.size)
        grid = self.layout.grids[-1]
        if keyframe or self._accepted is None:
            self._accepted = np.empty_like(image)
            self._gazed[:] = self._seen[:] = False
        # On a keyframe every cell is new, and its budget may leave some of them for later frames.
        change = np.where(self._seen, self._change(image), 255.0)
        threshold = limits.change_threshold
        needed = np.where(self._gazed, threshold * limits.hysteresis, threshold)
        order = np.argsort(-change, kind="stable")
        # A change of nothing is no change, also at threshold 0.
        cells = order[(change >= needed)[order] & (change[order] > 0)][: limits.budget]
        self._gazed[:] = False
        self._gazed[cells] = self._seen[cells] = True
        _cells(self._accepted, grid)[cells // grid, :, cells % grid] = _cells(image, grid)[
            cells // grid, :, cells % grid
        ]
        confidence = change[cells] / (change[cells] + threshold)
        return Gaze.unpredicted(cells + self.layout.offsets[-1], confidence)

    def _change(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        import cv2

        grid = self.layout.grids[-1]
        difference = cv2.absdiff(image, self._accepted)
        # float32, so that the mean of a cell is not rounded to a whole grey level
        means = cv2.resize(difference.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA)
        return means.mean(axis=2, dtype=np.float64).ravel()


def _cells(image: NDArray[np.uint8], grid: int) -> NDArray[np.uint8]:
    """A (grid, patch, grid, patch, 3) view of a square image."""
    patch = image.shape[0] // grid
    return image.reshape(grid, patch, grid, patch, image.shape[2])
