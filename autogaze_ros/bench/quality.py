"""How much of a clip the chosen tokens carry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gaze.frame import Frame
from ..gaze.receiver import TokenReceiver
from ..gaze.sources import Gaze, GazeSource, Limits
from ..gaze.tokens import DEFAULT_LAYOUT
from ..pipeline import make_source
from ..replay.clips import DrawnClip, Video
from ..settings import Settings
from .measure import machine

#: dB counted for a frame without any error, so that means stay finite.
IDENTICAL = 100.0
#: Seed and size of the scenes that the built-in model's training never saw.
HELD_OUT_SEED, HELD_OUT_CLIPS, HELD_OUT_FRAMES = 78, 6, 16
#: Stands beside the sources that users have: what moved since the last frame, without any memory.
DIFFERENCE = "difference"


class DifferenceSource:
    """The finest cells that changed most since the frame before."""

    name, model, device, layout = DIFFERENCE, "", "cpu", DEFAULT_LAYOUT

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def another(self) -> DifferenceSource:
        """One for another stream."""
        return DifferenceSource()

    def step(self, frame: Frame, receiver: TokenReceiver, limits: Limits, keyframe: bool) -> Gaze:
        """The budget's worth of cells with the largest squared change."""
        picture = frame.working(self.layout.size).astype(np.float32)
        change = np.square(picture - (0 if self._last is None or keyframe else self._last)).sum(axis=2)
        self._last = picture
        grid, patch = self.layout.grids[-1], self.layout.patch
        cells = change.reshape(grid, patch, grid, patch).sum(axis=(1, 3)).ravel()
        chosen = np.argsort(-cells, kind="stable")[: limits.budget] + self.layout.offsets[-1]
        return Gaze.unpredicted(chosen, np.zeros(len(chosen)))


def bench_quality(
    sources: list[str],
    budgets: list[int],
    video: Path | None,
    model: str = "",
    frames: int = 300,
    held_out: bool = False,
) -> dict[str, Any]:
    """PSNR of the token reconstruction against tokens a frame.

    The first frame gets 198 tokens, every other one the budget; nothing else starts the stream afresh and no
    target ends a frame early, so that sources compare at equal tokens.

    Args:
        sources: names of gaze sources, or "difference" for the plain one that is no product.
        budgets: tokens a frame.
        video: the clip; the drawn one where None.
        model: folder for the source autogaze, or "builtin".
        frames: of the clip, at most.
        held_out: also on drawn scenes of kinds that the built-in model was not trained on (needs PyTorch).
    """
    for budget in budgets:
        Settings(budget=budget)  # refuses what the node would
    name = str(video or "drawn clip")
    clips = {name: [list(map(Frame, islice(Video(video) if video else DrawnClip(), frames)))]}
    if held_out:
        clips["held-out scenes"] = held_out_clips()
    made = {each: _source(each, model) for each in sources}
    rows = []
    for clip, streams in clips.items():
        for each, source in made.items():
            for budget in budgets:
                limits = Limits(budget=budget, change_threshold=0.0, hysteresis=0.0)
                figures = [stream_quality(source.another(), stream, limits) for stream in streams]
                rows.append({"clip": clip, "source": each, "budget": budget, **_together(figures)})
    return {
        "bench": "quality",
        "machine": machine(),
        "input": name,
        "frames": len(clips[name][0]),
        "psnr of an identical frame (dB)": IDENTICAL,
        "rows": rows,
    }


def held_out_clips() -> list[list[Frame]]:
    """Short clips of drawn scenes whose worlds and motions training never uses."""
    import torch

    from ..training.scenes import make_clips

    drawn = make_clips(HELD_OUT_SEED, HELD_OUT_CLIPS, HELD_OUT_FRAMES, torch.device("cpu"), held_out=True)
    pictures = drawn.permute(0, 1, 3, 4, 2).contiguous().numpy()
    return [[Frame(picture) for picture in clip] for clip in pictures]


def stream_quality(
    source: GazeSource, clip: Iterable[Frame], limits: Limits, first: int = 198
) -> dict[str, float]:
    """Mean and minimum PSNR in dB and mean tokens after the first frame of a clip."""
    receiver = TokenReceiver(source.layout)
    psnr, tokens = [], []
    for index, frame in enumerate(clip):
        receiver.observe(frame.working(source.layout.size))
        wanted = limits if index else Limits(first, change_threshold=0.0)
        gaze = source.step(frame, receiver, wanted, index == 0)
        receiver.show(gaze.ids)
        psnr.append(IDENTICAL if math.isinf(receiver.psnr) else receiver.psnr)
        tokens.append(len(gaze.ids))
    return {
        "psnr mean (dB)": round(float(np.mean(psnr[1:])), 2),
        "psnr min (dB)": round(float(np.min(psnr[1:])), 2),
        "tokens a frame": round(float(np.mean(tokens[1:])), 2),
        "first frame (dB)": round(psnr[0], 2),
    }


def _source(name: str, model: str) -> GazeSource:
    if name == DIFFERENCE:
        return DifferenceSource()
    return make_source(Settings(source=name, model=model))


def _together(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """Figures of several clips of one length: the least of the minima, the mean of all else."""
    result = {}
    for name in figures[0]:
        combine = np.min if "min" in name else np.mean
        result[name] = round(float(combine([each[name] for each in figures])), 2)
    return result
