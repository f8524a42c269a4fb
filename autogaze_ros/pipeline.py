"""One camera's work: a frame in, its gaze out. The node and the replay tool drive this same object."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .gaze.frame import Frame
from .gaze.gaze_frame import GazeFrame
from .gaze.receiver import TokenReceiver
from .gaze.sources import GazeSource, GreedySource, PatchDiffSource
from .settings import Settings


def make_source(settings: Settings, say: Callable[[str], None] = lambda _: None) -> GazeSource:
    """The gaze source that the settings name.

    Args:
        settings: of the camera.
        say: told what is being done where it takes long.

    Raises:
        SourceError: it can't be made; the message says why.
    """
    if settings.source == "autogaze":
        from .gaze.sources.autogaze import AutoGazeSource

        folder = Path(settings.model).expanduser()
        return AutoGazeSource(folder, settings.device, settings.dtype, settings.window, settings.history, say)
    if settings.source == "patch_diff":
        return PatchDiffSource(settings.layout)
    return GreedySource(settings.layout)


class Pipeline:
    """The state of one camera's stream.

    Args:
        settings: may be replaced between frames; those that apply on configure count at construction only.
        source: what chooses; made from the settings where not given.
    """

    def __init__(self, settings: Settings, source: GazeSource | None = None) -> None:
        self.settings = settings
        self.source = source if source is not None else make_source(settings)
        self.receiver = TokenReceiver(self.source.layout)
        #: how often the stream started afresh, by cause
        self.resets: Counter[str] = Counter()
        self._requests: deque[str] = deque()  # may grow from another thread at any time
        self._failed = False
        self._frame_index = 0
        self._last: tuple[int, int, int, str] | None = None
        self._thumbnail: NDArray[np.float32] | None = None

    def request_keyframe(self, cause: str = "request") -> None:
        """Start afresh with the next frame; from any thread, also while a frame is in work."""
        self._requests.append(cause)

    def step(self, frame: Frame) -> GazeFrame:
        """Choose where to look in the next frame.

        A stamp that goes back, a long gap, another image size or encoding, or a cut starts the stream
        afresh; the cause is in the result and counted in :attr:`resets`.

        Raises:
            SourceError: the source failed on this frame; the next one starts the stream afresh.
        """
        working = frame.working(self.source.layout.size)
        cause = self._keyframe_cause(frame, working)
        keyframe = bool(cause)
        # Should anything below fail, what was half done must not be built on.
        self._failed = True
        if keyframe:
            self.resets[cause] += 1
            if cause != "interval":
                self._frame_index = 0
            self.receiver.reset()
        self.receiver.observe(working)
        gaze = self.source.step(frame, self.receiver, self.settings.limits(keyframe), keyframe)
        self.receiver.show(gaze.ids)
        result = GazeFrame(
            stamp=frame.stamp,
            width=frame.width,
            height=frame.height,
            source=self.source.name,
            model=self.source.model,
            layout=self.source.layout,
            frame_index=self._frame_index,
            keyframe=keyframe,
            keyframe_cause=cause,
            ids=gaze.ids,
            boxes=self.source.layout.boxes(gaze.ids, frame.width, frame.height),
            confidence=gaze.confidence,
            predicted_losses=gaze.predicted_loss,
            psnr=self.receiver.psnr,
        )
        self._failed = False
        self._frame_index += 1
        return result

    def _keyframe_cause(self, frame: Frame, working: NDArray[np.uint8]) -> str:
        """Why this frame starts afresh; empty where it goes on."""
        thumbnail = _thumbnail(working)
        last, before = self._last, self._thumbnail
        self._last = (frame.stamp, frame.width, frame.height, frame.encoding)
        self._thumbnail = thumbnail
        settings = self.settings
        requested = [self._requests.popleft() for _ in range(len(self._requests))]
        if requested:
            return requested[-1]
        if self._failed:
            return "error"
        if last is None or before is None:
            return "start"
        if frame.stamp < last[0]:
            return "stamp"
        if (frame.width, frame.height) != last[1:3]:
            return "size"
        if frame.encoding != last[3]:
            return "encoding"
        if settings.gap_threshold and frame.stamp - last[0] > settings.gap_threshold * 1e9:
            return "gap"
        if settings.cut_threshold and float(np.abs(thumbnail - before).mean()) >= settings.cut_threshold:
            return "cut"
        if settings.keyframe_interval and self._frame_index % settings.keyframe_interval == 0:
            return "interval"
        return ""


def _thumbnail(working: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(14, 14, 3): the picture so coarse that motion hardly changes it, but a cut does."""
    side = working.shape[0] // 14
    rows = np.add.reduce(working.reshape(14, side, -1), axis=1, dtype=np.float32)
    cells = rows.reshape(14, 14, side, 3).sum(axis=2)
    return cells / np.float32(side * side)
