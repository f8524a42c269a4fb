"""What a robot would have seen: the node's worker, which takes the newest image once it is free, on paper."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from ..gaze.frame import Frame
from ..gaze.sources import SourceError
from ..pipeline import Pipeline
from ..settings import Settings
from .reader import Recorded


class NewestWins:
    """Leaves out the images that a worker would not have got to.

    An image that comes while the worker is busy waits, and gives way to a newer one.

    Args:
        cost: nanoseconds that the worker takes for an image.
    """

    def __init__(self, cost: int) -> None:
        self.cost = cost
        #: images that gave way so far
        self.dropped = 0

    def __call__(self, items: Iterable[Recorded]) -> Iterator[Recorded]:
        """Those images that get worked on; they arrive at the times of recording."""
        free = None  # nanoseconds at which the worker is or was free again
        waiting = None
        for item in items:
            now = item.log_time
            if waiting is not None and free is not None and free <= now:
                yield waiting
                waiting, free = None, free + self.cost
            if free is None or free <= now:
                yield item
                free = now + self.cost
                continue
            if waiting is not None:
                self.dropped += 1
            waiting = item
        if waiting is not None:
            yield waiting


def measured_cost(items: Iterable[Recorded], settings: Settings, frames: int = 33) -> int:
    """Nanoseconds that an image takes here, decoding included: the median after the first few images."""
    pipeline = Pipeline(settings)
    times = []
    for item in islice(items, frames):
        begun = time.perf_counter_ns()
        frame = item.load().frame
        if isinstance(frame, Frame):
            try:
                pipeline.step(frame)
            except SourceError:
                continue
            times.append(time.perf_counter_ns() - begun)
    if not times:
        return 0
    # The first ones warm up caches and are keyframes.
    return round(statistics.median(times[3:] or times))
