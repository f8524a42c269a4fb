"""One topic's images through a pipeline, one after the other, and what is said of each."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..gaze.frame import Frame
from ..gaze.gaze_frame import GazeFrame
from ..gaze.sources import SourceError
from ..images import ImageError
from ..pipeline import Pipeline
from ..render import Renderer, Wanted
from ..settings import Settings
from . import cdr
from .journal import Entry
from .reader import Loaded, Problem, Recorded

#: Sources whose state is a few arrays, small enough to be kept with every segment.
_PLAIN_SOURCES = ("greedy", "patch_diff")


@dataclass
class Checks:
    """What the stamps and sizes of a topic were so far."""

    first: int | None = None
    last: int | None = None
    size: list[int] = field(default_factory=list)
    encoding: str = ""

    def problems(self, item: Recorded, frame: Frame) -> list[Problem]:
        """What is odd about a frame that can be used all the same."""
        found = []
        stamp, size = frame.stamp, [frame.width, frame.height]
        if self.first is None or self.last is None:
            self.first = stamp
        elif stamp == self.last:
            found.append(("duplicate", "the stamp is that of the image before"))
        elif stamp < self.last and stamp <= self.first:
            found.append(("loop", "the stamps begin again: the recording loops"))
        elif stamp < self.last:
            found.append(("stamp", f"the stamp went back by {(self.last - stamp) / 1e9:.3f} s"))
        if self.size and self.size != size:
            was = "{} x {}".format(*self.size)
            found.append(
                ("size_change", f"the image is of {frame.width} x {frame.height} pixels after {was}")
            )
        if self.encoding and self.encoding != frame.encoding:
            found.append(("encoding_change", f"the encoding is {frame.encoding} after {self.encoding}"))
        self.last, self.size, self.encoding = stamp, size, frame.encoding
        return [Problem(item.topic, item.index, stamp, cause, text) for cause, text in found]


class Gazer:
    """The state of one topic.

    Args:
        settings: of its pipeline.
        wanted: pictures to make of each frame.

    Raises:
        SourceError: the source can't be made.
    """

    def __init__(self, settings: Settings, wanted: Wanted) -> None:
        self.pipeline = Pipeline(settings)
        self.checks = Checks()
        self._wanted = wanted
        self._renderer = Renderer()

    @property
    def can_be_kept(self) -> bool:
        """Whether this object can be stored and taken up again."""
        return self.pipeline.source.name in _PLAIN_SOURCES

    @property
    def kept(self) -> dict[str, Any]:
        """What is kept even where this object is not, as JSON."""
        return {"stamps": asdict(self.checks), "failed": self.pipeline.failed}

    def follow(self, frame: Frame) -> None:
        """Bring the state up to date with a frame that was answered in an earlier run."""
        gaze = self.pipeline.step(frame)
        self._renderer.reconstruct(frame, gaze, self.pipeline, self._wanted)

    def answer(self, item: Recorded, loaded: Loaded, seconds: float) -> Entry:
        """What comes of an image.

        Args:
            item: as it was found.
            loaded: the same, decoded.
            seconds: that decoding took, counted as computing.
        """
        entry = Entry(item.index, item.log_time)
        frame = loaded.frame
        if isinstance(frame, ImageError):
            entry.problems = [Problem(item.topic, item.index, loaded.stamp, frame.cause, str(frame))]
            return entry
        entry.problems = self.checks.problems(item, frame)
        begun = time.perf_counter()
        try:
            gaze = self.pipeline.step(frame)
        except SourceError as error:
            entry.problems.append(Problem(item.topic, item.index, frame.stamp, "source", str(error)))
            return entry
        except Exception as error:  # a fault in this program, after which the node goes on as well
            text = f"a fault in this program: {error!r}"
            entry.problems.append(Problem(item.topic, item.index, frame.stamp, "fault", text))
            return entry
        seconds += time.perf_counter() - begun
        entry.row = _row(item, gaze, seconds)
        entry.messages = self._messages(item.topic, loaded.frame_id, frame, gaze)
        return entry

    def _messages(
        self, topic: str, frame_id: str, frame: Frame, gaze: GazeFrame
    ) -> list[tuple[str, str, bytes]]:
        head, settings = cdr.header(frame.stamp, frame_id), self.pipeline.settings
        messages = [
            (f"{topic}/gaze/fixations", cdr.FIXATIONS, cdr.fixations_cdr(gaze, head)),
            (f"{topic}/gaze/mask", cdr.MASK, cdr.mask_cdr(gaze, settings.mask_style, head)),
        ]
        reconstruction = self._renderer.reconstruct(frame, gaze, self.pipeline, self._wanted)
        pictures = {}
        if self._wanted.overlay:
            pictures["overlay"] = self._renderer.draw(frame, gaze, reconstruction, settings)
        if self._wanted.reconstruction:
            pictures["reconstruction"] = reconstruction
        for name, picture in pictures.items():
            data = cdr.compressed_cdr(picture, frame.order, settings.jpeg_quality, head)
            messages.append((f"{topic}/gaze/{name}/compressed", cdr.COMPRESSED, data))
        return messages


def _row(item: Recorded, gaze: GazeFrame, seconds: float) -> dict[str, Any]:
    """The frame's line, with the same float32 numbers as its message."""
    numbers = {
        name: float(np.float32(getattr(gaze, name)))
        for name in ("token_ratio", "gaze_ratio", "update_ratio", "psnr", "measured_loss", "predicted_loss")
    }
    return {
        "index": item.index,
        "stamp": gaze.stamp,
        "frame_index": gaze.frame_index,
        "keyframe": gaze.keyframe,
        "keyframe_cause": gaze.keyframe_cause,
        "width": gaze.width,
        "height": gaze.height,
        "tokens": len(gaze),
        **numbers,
        "compute_ms": round(seconds * 1e3, 3),
    }
