"""How long masks and pictures take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..gaze.frame import Frame
from ..gaze.gaze_frame import GazeFrame
from ..gaze.masks import MASK_STYLES
from ..gaze.tiling import Tiling
from ..gaze.tokens import DEFAULT_LAYOUT
from ..pipeline import Pipeline
from ..render import VIEWS, Reconstruction, draw_view
from ..replay.clips import DrawnClip
from ..settings import Settings
from .measure import BenchError, machine, must_be_positive, percentiles


def bench_render(width: int, height: int, cells: int, repeats: int) -> dict[str, Any]:
    """Time mask styles, views and tiles.

    Args:
        width: of the image in pixels.
        height: of the image.
        cells: of the gaze that is drawn, chosen at random over all scales.
        repeats: timed calls of each.

    Raises:
        BenchError: a size or a count that is not above 0, or more cells than there are.
    """
    must_be_positive(width=width, height=height, cells=cells, repeats=repeats)
    if cells > DEFAULT_LAYOUT.count:
        raise BenchError(f"cells must be at most {DEFAULT_LAYOUT.count}, as there are no more, got {cells}")
    state = machine()
    clip = [Frame(picture, stamp=i * 33_333_333) for i, picture in enumerate(DrawnClip(width, height, 24))]
    frame = clip[0]
    reconstruction = Reconstruction()

    def timed(work: Callable[[GazeFrame], Any]) -> dict[str, float]:
        # A fresh gaze each time: what it works out once and keeps belongs to the cost.
        times = []
        for index in range(repeats + 3):
            gaze = random_gaze(width, height, cells, index)
            begun = time.perf_counter()
            work(gaze)
            times.append(time.perf_counter() - begun)
        return percentiles(times[3:])

    reconstruction.update(frame, random_gaze(width, height, cells, 0))
    output = reconstruction.update(frame, random_gaze(width, height, cells, 1))
    return {
        "bench": "render",
        "machine": state,
        "size": [width, height],
        "cells": cells,
        "mask (ms)": {style: timed(partial(GazeFrame.bitmaps, style=style)) for style in MASK_STYLES},
        "mask boxes (ms)": {
            style: timed(partial(GazeFrame.styled_boxes, style=style)) for style in MASK_STYLES
        },
        "mask image (ms)": timed(GazeFrame.mask_image),
        "reconstruction, fill source (ms)": timed(partial(reconstruction.update, frame)),
        "view (ms)": {view: timed(partial(_view, view, frame, output)) for view in VIEWS},
        "tiles with greedy (ms)": _tiles(clip),
    }


def _view(view: str, frame: Frame, output: Any, gaze: GazeFrame) -> Any:
    return draw_view(view, frame, gaze, output)


def _tiles(clip: list[Frame]) -> dict[str, Any]:
    """Frames of a moving scene through all tiles at the default budgets; the first one, a keyframe, apart."""
    pipeline = Pipeline(Settings(resolution="tile_grid"))
    times, tokens = [], []
    for frame in clip:
        begun = time.perf_counter()
        gaze = pipeline.step(frame)
        times.append(time.perf_counter() - begun)
        tokens.append(len(gaze))
    return {
        "tiles": gaze.tiling.count,
        "budget a tile": pipeline.settings.budget,
        "tokens a frame": float(np.mean(tokens[1:])),
        "keyframe": {"tokens": tokens[0], "ms": round(times[0] * 1e3, 3)},
        **percentiles(times[1:]),
    }


def random_gaze(width: int, height: int, cells: int, seed: int) -> GazeFrame:
    """A gaze of so many different tokens of all scales, not a keyframe."""
    ids = np.random.default_rng(seed).permutation(DEFAULT_LAYOUT.count)[:cells].astype(np.int32)
    tiling = Tiling(DEFAULT_LAYOUT, width, height)
    tiles = np.zeros(len(ids), np.int32)
    ones = np.ones(len(ids), np.float32)
    return GazeFrame(
        stamp=0,
        source="random",
        model="",
        tiling=tiling,
        frame_index=seed,
        sequence=seed,
        keyframe=False,
        keyframe_cause="",
        tiles=tiles,
        ids=ids,
        boxes=tiling.boxes(tiles, ids),
        confidence=ones,
        predicted_losses=ones * np.float32(math.nan),
        psnr=40.0,
    )
