"""The one interface behind which every gaze source stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import AutogazeError
from ..frame import Frame
from ..receiver import TokenReceiver
from ..tokens import FloatArray, IntArray, TokenLayout

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Limits:
    """What a source may spend on one frame, and when it has done enough.

    A source reads those that mean something to it and ignores the others.
    """

    #: Most tokens to choose, 1 or more.
    budget: int = 20
    #: ``greedy``: stop once the token reconstruction reaches this PSNR in dB; inf never stops early.
    target_psnr: float = math.inf
    #: ``autogaze``: stop once the predicted loss is at most this; None never stops early.
    loss_threshold: float | None = None
    #: ``patch_diff``: mean absolute change in grey levels (0..255) from which a cell is gazed at.
    change_threshold: float = 8.0
    #: ``patch_diff``: a gazed cell stays gazed at down to this share (0..1) of the threshold.
    hysteresis: float = 0.5


@dataclass(frozen=True)
class Gaze:
    """What a source chose in one frame, in the order of choice."""

    #: (N,) int32 token ids within the frame, no padding, no id twice.
    ids: IntArray
    #: (N,) float32, 0..1; its meaning is the source's own.
    confidence: FloatArray
    #: (N,) float32 loss expected before each token is taken; NaN where the source predicts none.
    predicted_loss: FloatArray

    @staticmethod
    def unpredicted(ids: NDArray[np.integer], confidence: NDArray[np.floating]) -> Gaze:
        """A gaze of a source that predicts no loss."""
        return Gaze(
            np.asarray(ids, np.int32),
            np.asarray(confidence, np.float32),
            np.full(len(ids), np.nan, np.float32),
        )

    @staticmethod
    def joined(gazes: Sequence[Gaze]) -> Gaze:
        """Several gazes one after the other."""
        empty = Gaze.unpredicted(np.empty(0, np.int64), np.empty(0))
        parts = [empty, *gazes]
        return Gaze(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.predicted_loss for part in parts]),
        )


class GazeSource(Protocol):
    """Chooses tokens frame by frame from one stream: a camera's, or that of one of its tiles."""

    #: The value of the ``source`` parameter.
    name: str
    #: Name of the model folder; empty for sources without one.
    model: str
    #: "cpu", or the GPU that it computes on.
    device: str
    layout: TokenLayout

    def step(self, frame: Frame, receiver: TokenReceiver, limits: Limits, keyframe: bool) -> Gaze:
        """Choose the tokens of the next frame.

        Args:
            frame: the image.
            receiver: the stream's closed loop; it has observed this frame and still shows the last one.
                A source reads its errors and leaves the picture alone.
            limits: what this frame may cost.
            keyframe: forget what was before this frame; the receiver has.

        Raises:
            SourceError: this frame could not be done; the stream can go on with the next.
        """
        ...

    def another(self) -> GazeSource:
        """A source like this one for a stream of its own; what can be shared is."""
        ...


@dataclass(frozen=True)
class Look:
    """One stream's next frame: the arguments of :meth:`GazeSource.step` with their source."""

    source: GazeSource
    frame: Frame
    receiver: TokenReceiver
    limits: Limits
    keyframe: bool


def step_together(looks: Sequence[Look], pool: Executor | None = None) -> list[Gaze]:
    """Step several streams made by ``another`` from one source, in one batch where the source can.

    Args:
        looks: what each stream is to do.
        pool: threads for sources that step one stream at a time.

    Raises:
        SourceError: as :meth:`GazeSource.step`.
    """
    batch = getattr(looks[0].source, "step_batch", None) if looks else None
    if batch is not None:
        result: list[Gaze] = batch(looks)
        return result

    def step(look: Look) -> Gaze:
        return look.source.step(look.frame, look.receiver, look.limits, look.keyframe)

    return run_all(step, looks, pool)


def run_all(work: Callable[[Item], Result], items: Sequence[Item], pool: Executor | None) -> list[Result]:
    """The results of work on each item, on a pool's threads where there is one.

    Should one fail, its error is raised once all others have ended: none is left running behind the caller's back.
    """
    if pool is None:
        return [work(item) for item in items]
    futures = [pool.submit(work, item) for item in items]
    wait(futures)
    return [future.result() for future in futures]


class SourceError(AutogazeError, RuntimeError):
    """A source failed on a frame; the message names the thing and its remedy."""
