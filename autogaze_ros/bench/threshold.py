"""Whether a model that predicts its loss stops where it should: thresholds, still scenes, cuts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..gaze.frame import Frame
from ..gaze.metrics import BUILTIN_LOSS_AT_0_DB, BUILTIN_LOSS_PER_DB, loss_from_psnr, psnr_from_error
from ..gaze.receiver import TokenReceiver
from ..gaze.sources import GazeSource, Limits
from ..gaze.sources.greedy import _Stack
from ..pipeline import make_source
from ..replay.clips import Video
from ..settings import Settings
from .measure import machine
from .quality import held_out_clips

#: dB at which the built-in model's unit ends.
MOST = -BUILTIN_LOSS_AT_0_DB / BUILTIN_LOSS_PER_DB


def bench_threshold(model: str, video: Path | None, targets: Sequence[float]) -> dict[str, Any]:
    """Predicted against true losses, and tokens where the model itself decides how many.

    Args:
        model: folder in the built-in model's unit, or "builtin".
        video: a clip to look at besides the held-out scenes.
        targets: dB, whose losses are the thresholds.
    """
    source = make_source(Settings(source="autogaze", model=model))
    clips = {"held-out scenes": held_out_clips()}
    if video:
        clips[str(video)] = [[Frame(picture) for picture in Video(video)]]
    rows = []
    for name, streams in clips.items():
        for target in targets:
            parts = [follow(source.another(), stream, target) for stream in streams]
            rows.append({"clip": name, "target (dB)": target, **_summary(parts)})
    frame, other = clips["held-out scenes"][0][0], clips["held-out scenes"][3][0]
    scene = [frame] * 12 + [other] * 12
    tokens = follow(source.another(), scene, 37.5)["tokens"]
    return {
        "bench": "threshold",
        "machine": machine(),
        "rows": rows,
        "a still scene and a cut at frame 12, tokens a frame at 37.5 dB": tokens,
    }


def follow(source: GazeSource, clip: Sequence[Frame], target: float) -> dict[str, list[Any]]:
    """Let a model stop by its own threshold.

    Returns:
        Of each frame the tokens, at most 198, and the PSNR reached; of each token the true PSNR before it and the
        predicted one, in dB up to the unit's end.
    """
    receiver = TokenReceiver(source.layout)
    threshold = BUILTIN_LOSS_AT_0_DB + BUILTIN_LOSS_PER_DB * target
    tokens, reached, true, predicted = [], [], [], []
    for index, frame in enumerate(clip):
        receiver.observe(frame.working(source.layout.size))
        gaze = source.step(frame, receiver, Limits(198, loss_threshold=threshold), index == 0)
        stack = _Stack(source.layout, receiver.errors, receiver.scale_errors)
        for token, loss in zip(gaze.ids.tolist(), gaze.predicted_loss.tolist(), strict=True):
            true.append(min(MOST, psnr_from_error(stack.total, 3 * source.layout.size**2)))
            predicted.append(min(MOST, (loss - BUILTIN_LOSS_AT_0_DB) / BUILTIN_LOSS_PER_DB))
            stack.set(token, True)
        receiver.show(gaze.ids)
        tokens.append(len(gaze.ids))
        reached.append(min(MOST, receiver.psnr))
    return {"tokens": tokens, "reached": reached, "true": true, "predicted": predicted}


def _summary(parts: Sequence[dict[str, list[Any]]]) -> dict[str, Any]:
    def every(name: str, after: int = 0) -> np.ndarray:
        return np.concatenate([np.asarray(part[name][after:], np.float64) for part in parts])

    true, predicted = every("true"), every("predicted")
    edges = np.arange(10, MOST, 2.5)
    place = np.digitize(predicted, edges)
    curve = [
        [round(float(part[place == bin].mean()), 2) for part in (predicted, true)]
        + [int((place == bin).sum())]
        for bin in np.unique(place)
    ]
    of_true = np.array([loss_from_psnr(value) for value in true])
    of_predicted = np.array([loss_from_psnr(value) for value in predicted])
    return {
        "predicted dB, true dB, tokens": curve,
        "tokens a frame": round(float(every("tokens", 1).mean()), 2),
        "psnr mean (dB)": round(float(every("reached", 1).mean()), 2),
        "psnr min (dB)": round(float(every("reached", 1).min()), 2),
        "predicted less true (dB)": round(float((predicted - true).mean()), 2),
        "off by (dB)": round(float(np.abs(predicted - true).mean()), 2),
        "mean predicted root mean square error over the true one": round(
            float(of_predicted.mean() / of_true.mean()), 3
        ),
        "off by, share of the true root mean square error": round(
            float((np.abs(of_predicted - of_true) / of_true).mean()), 3
        ),
    }
