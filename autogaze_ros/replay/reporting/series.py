"""Series over time, made short enough to draw without losing a peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

#: Points of a line that are drawn; about two for each pixel of a wide screen.
POINTS = 2400


@dataclass(frozen=True)
class TimeAxis:
    """Where frames lie on the horizontal axis.

    Args:
        values: (N,) seconds since the first frame, or indices where the stamps go back.
        seconds: which of the two.
    """

    values: Floats
    seconds: bool

    @property
    def title(self) -> str:
        """What to write under the axis."""
        return "time since the first frame (s)" if self.seconds else "frame (its stamps go back in time)"

    def place(self, index: Index, frames: Index) -> Floats:
        """Where the images of some indices lie, also those that gave no frame: at the frame that follows them.

        Args:
            index: of the images, in their topic.
            frames: (N,) indices of the frames of this axis.
        """
        if not len(frames):
            return index.astype(float)
        order = np.argsort(frames, kind="stable")
        at = np.searchsorted(frames[order], index).clip(0, len(frames) - 1)
        return self.values[order][at]


def time_axis(stamps: Index, index: Index) -> TimeAxis:
    """The axis of frames with these stamps in nanoseconds."""
    if len(stamps) and np.all(np.diff(stamps) >= 0):
        return TimeAxis((stamps - stamps[0]) / 1e9, True)
    return TimeAxis(index.astype(np.float64), False)


def decimate(values: NDArray[Any], points: int = POINTS) -> Index:
    """Which points to draw: the lowest and the highest of each of ``points / 2`` stretches, and both ends.

    Every extreme of the whole survives, so a single bad frame among ten thousand stays to be seen. Values that
    are not finite are left out unless all of them fit.

    Args:
        values: (N,) numbers.
        points: most points, 4 or more; where there are fewer values all are kept.

    Returns:
        (M,) positions in rising order.
    """
    count = len(values)
    if count <= points:
        return np.arange(count)
    edges = np.linspace(0, count, points // 2).astype(np.int64)
    finite = np.isfinite(values)
    low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
    kept = {0, count - 1}
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        kept.add(first + int(np.argmin(low[first:last])))
        kept.add(first + int(np.argmax(high[first:last])))
    picked = np.array(sorted(kept), np.int64)
    return picked[finite[picked]]


def thin(positions: Floats, most: int) -> Index:
    """At most ``most`` of some events, the first in each stretch of the axis where they are more."""
    if len(positions) <= most:
        return np.arange(len(positions))
    low, high = positions.min(), positions.max()
    stretch = np.minimum((positions - low) / max(high - low, 1e-9) * most, most - 1).astype(np.int64)
    return np.sort(np.unique(stretch, return_index=True)[1])


def average_window(count: int) -> int:
    """Frames that a moving average spans: a hundredth of all, odd, 5 to 301."""
    return int(np.clip(count // 100, 5, 301)) | 1


def moving_average(values: Floats, window: int) -> Floats:
    """(N,) mean over a centred window, of what is finite in it; NaN where nothing is.

    Args:
        values: (N,) numbers.
        window: frames, odd; at both ends it is cut off.
    """
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    at = np.arange(len(values))
    low, high = np.maximum(at - window // 2, 0), np.minimum(at + window // 2 + 1, len(values))
    number = counts[high] - counts[low]
    mean: Floats = np.where(number > 0, (sums[high] - sums[low]) / np.maximum(number, 1), np.nan)
    return mean
