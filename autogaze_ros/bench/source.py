"""How long a gaze source takes for a frame, without ROS."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

from ..gaze.frame import Frame
from ..pipeline import Pipeline
from ..replay.clips import DrawnClip, Video
from ..settings import Settings
from .measure import machine, must_be_positive, percentiles


def bench_source(
    settings: Settings, width: int, height: int, frames: int, warmup: int, video: Path | None = None
) -> dict[str, Any]:
    """Time ``Pipeline.step`` on a clip, and its parts.

    Args:
        settings: of the pipeline.
        width: of the drawn clip.
        height: of the drawn clip.
        frames: timed frames; a shorter clip is played again.
        warmup: frames before the timed ones.
        video: a clip to use instead, at its own size.

    Raises:
        BenchError: a length that is not above 0.
    """
    must_be_positive(width=width, height=height, frames=frames)
    warmup = max(0, warmup)
    clip = list(islice(Video(video) if video else DrawnClip(width, height, frames + warmup), frames + warmup))
    pipeline = Pipeline(settings)
    steady: list[float] = []
    keyframes: list[float] = []
    shrink: list[float] = []
    tokens: list[int] = []
    state = machine()
    for index in range(frames + warmup):
        frame = Frame(clip[index % len(clip)], stamp=index * 33_333_333)
        begun = time.perf_counter()
        frame.working(pipeline.source.layout.size)
        shrunk = time.perf_counter()
        gaze = pipeline.step(frame)
        ended = time.perf_counter()
        if index < warmup:
            continue
        (keyframes if gaze.keyframe else steady).append(ended - begun)
        shrink.append(shrunk - begun)
        tokens.append(len(gaze))
    # The first frame, several times over, as a clip has too few keyframes to take percentiles of.
    for index in range(min(20, frames)):
        pipeline.request_keyframe()
        begun = time.perf_counter()
        pipeline.step(Frame(clip[index % len(clip)]))
        keyframes.append(time.perf_counter() - begun)
    return {
        "bench": "source",
        "machine": state,
        "source": pipeline.source.name,
        "device": pipeline.source.device,
        "input": str(video or "drawn clip"),
        "size": list(clip[0].shape[1::-1]),
        "budget": settings.budget,
        "target_psnr": settings.target_psnr,
        "tokens a frame": round(sum(tokens) / len(tokens), 2),
        "frame (ms)": percentiles(steady),
        "keyframe (ms)": percentiles(keyframes),
        "of it, shrinking (ms)": percentiles(shrink),
    }
