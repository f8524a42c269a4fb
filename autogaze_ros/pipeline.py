"""One camera's work: a frame in, its gaze out. The node and the replay tool drive this same object."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gaze.frame import Frame, Image
from .gaze.gaze_frame import GazeFrame
from .gaze.metrics import psnr_from_error
from .gaze.receiver import TokenReceiver
from .gaze.sources import Gaze, GazeSource, GreedySource, Look, PatchDiffSource, run_all, step_together
from .gaze.tiling import Tiling, share_out
from .resources import model_folder
from .settings import Settings, SettingsError


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

        folder = model_folder(settings.model)
        return AutoGazeSource(folder, settings.device, settings.dtype, settings.window, settings.history, say)
    if settings.source == "patch_diff":
        return PatchDiffSource(settings.layout)
    return GreedySource(settings.layout)


class Pipeline:
    """The state of one camera's stream.

    Args:
        settings: may be replaced between frames; those that apply on configure count at construction only.
        source: what chooses; made from the settings where not given.

    Raises:
        SettingsError: tiles that overlap by more than the source's window allows.
    """

    def __init__(self, settings: Settings, source: GazeSource | None = None) -> None:
        self.settings = settings
        self.source = source if source is not None else make_source(settings)
        try:
            Tiling(self.source.layout, 1, 1, settings.resolution, settings.tile_overlap)
        except ValueError as error:
            raise SettingsError(
                f"tile_overlap does not fit the source {self.source.name}: {error}"
            ) from error
        #: how often the stream started afresh, by cause
        self.resets: Counter[str] = Counter()
        self._resolution, self._overlap = settings.resolution, settings.tile_overlap
        # One of each a tile; the first pair is there from the start, as every frame has a tile.
        self._sources = [self.source]
        self._receivers = [TokenReceiver(self.source.layout)]
        self._tiling: Tiling | None = None
        # Tiles are worked on side by side; nearly all of it is NumPy, which lets threads run.
        self._pool = self._threads()
        self._stale: set[int] = set()  # tiles whose source has yet to hear of the last keyframe
        self._requests: deque[str] = deque()  # may grow from another thread at any time
        #: the last frame came to nothing, so the next one starts afresh
        self.failed = False
        self._frame_index = 0
        self._sequence = 0
        self._last: tuple[int, int, int, str] | None = None
        self._thumbnail: NDArray[np.float32] | None = None

    def _threads(self) -> ThreadPoolExecutor | None:
        return None if self._resolution == "resize" else ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def __getstate__(self) -> dict[str, Any]:
        """A replay keeps pipelines on disk to go on from; threads can't be kept."""
        return {**vars(self), "_pool": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._pool = self._threads()

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
        cause = self._keyframe_cause(frame)
        keyframe = bool(cause)
        # Should anything below fail, what was half done must not be built on.
        self.failed = True
        if keyframe:
            self.resets[cause] += 1
            if cause != "interval":
                self._frame_index = 0
        tiling = self._tile(frame, keyframe)
        looks = self._looks(tiling.cut(frame), keyframe)
        gazes = step_together(looks, self._pool)
        for look, gaze in zip(looks, gazes, strict=True):
            look.receiver.show(gaze.ids)
        result = self._gather(frame, tiling, looks, gazes, cause)
        self.failed = False
        self._frame_index += 1
        self._sequence += 1
        return result

    def token_picture(self, frame: Frame) -> Image:
        """(H, W, 3) uint8 in the frame's channel order: what the tokens alone carry, at the size of the last frame.

        Raises:
            ValueError: the frame has another size than the one that was stepped last.
        """
        if self._tiling is None:
            raise ValueError("no frame was stepped yet")
        picture = self._tiling.assemble(
            [receiver.picture for receiver in self._receivers[: self._tiling.count]]
        )
        if picture.shape != frame.pixels.shape:
            raise ValueError(f"the last frame was of {picture.shape[1]} x {picture.shape[0]} pixels")
        return picture if frame.order == "rgb" else np.ascontiguousarray(picture[:, :, ::-1])

    def _tile(self, frame: Frame, keyframe: bool) -> Tiling:
        """The tiling of the frame's size, with a source and a receiver for each tile."""
        tiling = self._tiling
        if tiling is None or (tiling.width, tiling.height) != (frame.width, frame.height):
            tiling = Tiling(self.source.layout, frame.width, frame.height, self._resolution, self._overlap)
            self._tiling = tiling
            del self._sources[tiling.count :], self._receivers[tiling.count :]
            for _ in range(len(self._sources), tiling.count):
                self._sources.append(self.source.another())
                self._receivers.append(TokenReceiver(self.source.layout))
        if keyframe:
            for receiver in self._receivers:
                receiver.reset()
        return tiling

    def _looks(self, frames: list[Frame], keyframe: bool) -> list[Look]:
        """What each tile's source is to do; tiles that get no token are left out."""
        receivers = self._receivers[: len(frames)]
        size = self.source.layout.size

        def observe(tile: tuple[TokenReceiver, Frame]) -> None:
            tile[0].observe(tile[1].working(size))

        run_all(observe, list(zip(receivers, frames, strict=True)), self._pool)
        limits = self.settings.limits(keyframe)
        # A keyframe's budget is the frame's: tiles share it, and none gets less than in other frames.
        steady = self.settings.limits(False).budget
        most = max(steady, limits.budget // len(frames)) if keyframe else limits.budget
        budgets = [most] * len(frames)
        if self.settings.total_budget:
            errors = np.array([receiver.errors.sum() for receiver in receivers])
            budgets = share_out(self.settings.total_budget, errors, most)
        if keyframe:
            self._stale = set(range(len(frames)))
        # A tile that gets no token on a keyframe starts afresh once it gets some.
        looks = [
            Look(source, frame, receiver, replace(limits, budget=budget), tile in self._stale)
            for tile, (source, frame, receiver, budget) in enumerate(
                zip(self._sources, frames, receivers, budgets, strict=False)
            )
            if budget
        ]
        self._stale -= {tile for tile, budget in enumerate(budgets) if budget}
        return looks

    def _gather(
        self, frame: Frame, tiling: Tiling, looks: list[Look], gazes: list[Gaze], cause: str
    ) -> GazeFrame:
        """One gaze of all tiles, in source pixels; what two tiles chose in their overlap is there once."""
        place = {id(receiver): tile for tile, receiver in enumerate(self._receivers)}
        tiles = [
            np.full(len(gaze.ids), place[id(look.receiver)]) for look, gaze in zip(looks, gazes, strict=True)
        ]
        tile = np.concatenate([np.empty(0, np.int64), *tiles])
        gaze = Gaze.joined(gazes)
        boxes = tiling.boxes(tile, gaze.ids)
        keep = np.arange(len(tile))
        if tiling.count > 1:
            keep = np.sort(np.unique(tiling.keys(tile, gaze.ids), axis=0, return_index=True)[1])
        # Cells wholly on the repeated edge of tile_exact show nothing of the image.
        keep = keep[(boxes[keep, 0] < boxes[keep, 2]) & (boxes[keep, 1] < boxes[keep, 3])]
        error = sum(float(receiver.errors.sum()) for receiver in self._receivers[: tiling.count])
        return GazeFrame(
            stamp=frame.stamp,
            source=self.source.name,
            model=self.source.model,
            tiling=tiling,
            frame_index=self._frame_index,
            keyframe=bool(cause),
            keyframe_cause=cause,
            tiles=tile[keep].astype(np.int32),
            ids=gaze.ids[keep],
            boxes=boxes[keep],
            confidence=gaze.confidence[keep],
            predicted_losses=gaze.predicted_loss[keep],
            psnr=psnr_from_error(error, 3 * self.source.layout.size**2 * tiling.count),
            sequence=self._sequence,
        )

    def _keyframe_cause(self, frame: Frame) -> str:
        """Why this frame starts afresh; empty where it goes on."""
        thumbnail = _thumbnail(frame.working(self.source.layout.size))
        last, before = self._last, self._thumbnail
        self._last = (frame.stamp, frame.width, frame.height, frame.encoding)
        self._thumbnail = thumbnail
        settings = self.settings
        requested = [self._requests.popleft() for _ in range(len(self._requests))]
        if requested:
            return requested[-1]
        if self.failed:
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
