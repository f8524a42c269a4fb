"""How much of a clip the chosen tokens carry."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..gaze.frame import Frame
from ..gaze.receiver import TokenReceiver
from ..gaze.sources import GazeSource, Limits
from ..pipeline import make_source
from ..replay.clips import DrawnClip, Video
from ..settings import Settings
from .measure import machine

#: dB counted for a frame without any error, so that means stay finite.
IDENTICAL = 100.0


def bench_quality(
    sources: list[str], budgets: list[int], video: Path | None, model: str = "", frames: int = 300
) -> dict[str, Any]:
    """PSNR of the token reconstruction against tokens a frame.

    The first frame gets 198 tokens, every other one the budget; nothing else starts the stream afresh and no
    target ends a frame early, so that sources compare at equal tokens.

    Args:
        sources: names of gaze sources.
        budgets: tokens a frame.
        video: the clip; the drawn one where None.
        model: folder for the source autogaze.
        frames: of the clip, at most.
    """
    for budget in budgets:
        Settings(budget=budget)  # refuses what the node would
    clip = [Frame(picture) for picture in islice(Video(video) if video else DrawnClip(), frames)]
    rows = []
    for name in sources:
        for budget in budgets:
            source = make_source(Settings(source=name, model=model))
            limits = Limits(budget=budget, change_threshold=0.0, hysteresis=0.0)
            rows.append({"source": name, "budget": budget, **stream_quality(source, clip, limits)})
    return {
        "bench": "quality",
        "machine": machine(),
        "input": str(video or "drawn clip"),
        "frames": len(clip),
        "psnr of an identical frame (dB)": IDENTICAL,
        "rows": rows,
    }


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
