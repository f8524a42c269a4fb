"""The key figures of a topic, and its settings in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..run_tables import Column, RunTables
from ..summary import IDENTICAL


@dataclass(frozen=True)
class Figures:
    """What a topic's run comes to; NaN where there is nothing to take a figure from.

    Args:
        frames: answered.
        keyframes: among them.
        problems: of the topic, in images that gave a frame and in others.
        dropped: images that gave no frame, by cause.
        tokens: a frame, over all frames.
        steady_tokens: a frame, without keyframes.
        keyframe_tokens: a keyframe.
        fewer: how many times fewer tokens than all were spent.
        gaze_ratio: pixels seen / all pixels, mean over all frames.
        steady_gaze_ratio: the same without keyframes.
        psnr_mean: dB, over frames with a finite one.
        psnr_capped: dB, mean over all frames with 100 dB for the identical ones, as summary.json has it.
        psnr_min: dB; inf where every frame is identical.
        psnr_pooled: dB, of the mean square error over all frames; inf where all are identical.
        identical: frames with an infinite PSNR.
        compute_p50: ms a frame.
        compute_p99: ms a frame.
        seconds: from the first frame to the last, by their stamps.
    """

    frames: int
    keyframes: int
    problems: int
    dropped: dict[str, int]
    tokens: float
    steady_tokens: float
    keyframe_tokens: float
    fewer: float
    gaze_ratio: float
    steady_gaze_ratio: float
    psnr_mean: float
    psnr_capped: float
    psnr_min: float
    psnr_pooled: float
    identical: int
    compute_p50: float
    compute_p99: float
    seconds: float


def figures(run: RunTables, topic: str) -> Figures:
    """The figures of one topic of a run."""
    frames = run.of_topic(run.frames, topic)
    compute = run.of_topic(run.timing, topic)["compute_ms"]
    compute = compute[np.isfinite(compute)]
    key, psnr, stamps = frames["keyframe"], frames["psnr"], frames["stamp"]
    finite = psnr[np.isfinite(psnr)]
    p50, p99 = np.percentile(compute, (50, 99)).tolist() if len(compute) else (math.nan, math.nan)
    # An infinite PSNR is an error of 0, so the pooled figure takes all frames.
    error = _mean(10 ** (-psnr[~np.isnan(psnr)] / 10))
    ratio = _mean(frames["token_ratio"])
    return Figures(
        frames=len(key),
        keyframes=int(key.sum()),
        problems=len(run.of_topic(run.problems, topic)["index"]),
        dropped=dict(run.summary.get("topics", {}).get(topic, {}).get("dropped", {})),
        tokens=_mean(frames["tokens"]),
        steady_tokens=_mean(frames["tokens"][~key]),
        keyframe_tokens=_mean(frames["tokens"][key]),
        fewer=1 / ratio if ratio else math.inf,
        gaze_ratio=_mean(frames["gaze_ratio"]),
        steady_gaze_ratio=_mean(frames["gaze_ratio"][~key]),
        psnr_mean=_mean(finite) if len(finite) else (math.inf if np.isinf(psnr).any() else math.nan),
        psnr_capped=_mean(np.minimum(psnr, IDENTICAL)),
        psnr_min=float(np.nanmin(psnr)) if np.any(~np.isnan(psnr)) else math.nan,
        psnr_pooled=math.inf if error == 0 else -10 * math.log10(error) if error > 0 else math.nan,
        identical=int(np.isinf(psnr).sum()),
        compute_p50=p50,
        compute_p99=p99,
        seconds=float(stamps.max() - stamps.min()) / 1e9 if len(stamps) else 0.0,
    )


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with names such as ``gaze.budget``."""
    result: dict[str, Any] = {}
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = value
    return result


def settings_in_words(summary: Mapping[str, Any]) -> str:
    """What chose, how much it could spend and on what picture, in a sentence.

    Args:
        summary: as summary.json has it. What is absent is not spoken of.
    """
    named = summary.get("settings", {})
    source = named.get("source", "")
    parts = [f"source {source}" if source else "source unknown"]
    if source == "autogaze" and named.get("model"):
        parts.append(f"model {named['model']}")
    if float(named.get("quality", -1)) >= 0:
        parts.append(f"quality {float(named['quality']):g} of 1")
    else:
        if "budget" in named:
            text = f"at most {named['budget']} tokens a frame"
            if "keyframe_budget" in named:
                text += f" ({named['keyframe_budget']} on a keyframe)"
            parts.append(text)
        if source == "greedy" and named.get("target_psnr"):
            parts.append(f"no more once {float(named['target_psnr']):g} dB are reached")
        if source == "patch_diff" and "change_threshold" in named:
            parts.append(f"changes of {float(named['change_threshold']):g} grey levels and more")
        if source == "autogaze" and "loss_threshold" in named:
            parts.append(f"until a predicted loss of {float(named['loss_threshold']):g}")
    resolution, size = named.get("resolution"), named.get("working_size", 224)
    if resolution == "resize":
        parts.append(f"the whole frame at {size} × {size} pixels")
    elif resolution:
        parts.append(f"tiles of {size} × {size} pixels ({resolution})")
    if named.get("keyframe_interval"):
        parts.append(f"a keyframe every {named['keyframe_interval']} frames")
    if mode := summary.get("mode", {}).get("name"):
        parts.append(f"mode {mode}")
    return ", ".join(parts)


def when(stamps: NDArray[np.int64]) -> str:
    """The time that stamps in nanoseconds span, in UTC where they are of a calendar, for people."""
    if not len(stamps):
        return "no frames"
    first, last = int(stamps.min()), int(stamps.max())
    length = f"{(last - first) / 1e9:,.1f} s"
    if first < 946_684_800_000_000_000:  # before 2000: a simulator's or a video's clock
        return f"{length}, from {first / 1e9:,.1f} s on by its own clock"
    return f"{length} from {datetime.fromtimestamp(first // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def decibels(value: float) -> str:
    """A PSNR for people."""
    return "∞" if math.isinf(value) else "–" if math.isnan(value) else f"{value:.1f}"


def rounded(value: float, digits: int = 1) -> str:
    """A number for people."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def percent(value: float) -> str:
    """A share for people."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def _mean(column: Column) -> float:
    known = column[~np.isnan(column.astype(float))]
    return float(np.mean(known)) if len(known) else math.nan
