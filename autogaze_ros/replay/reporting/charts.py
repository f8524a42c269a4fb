"""What the page's script draws: series over time and the histogram, as plain values."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ..run_tables import Column
from .page import finite_or_none
from .series import POINTS, average_window, decimate, moving_average, thin, time_axis

#: Marks of one kind on the lane of events, and lines of keyframes through the panels, at most.
MARKS, LINES = 400, 60


def series(frames: dict[str, Column], problems: dict[str, Column]) -> tuple[dict[str, Any], str]:
    """Tokens, gaze ratio and PSNR over time, with keyframes and problems; and a remark on what was left out.

    Args:
        frames: of one topic.
        problems: of the same.
    """
    axis = time_axis(frames["stamp"], frames["index"])
    count = len(axis.values)
    psnr = frames["psnr"]
    columns = {
        "tokens": frames["tokens"].astype(float),
        "gaze ratio": frames["gaze_ratio"],
        "PSNR": np.where(np.isfinite(psnr), psnr, np.nan),
    }
    # One set of frames for all panels, so that the pointer reads one frame in each.
    each = POINTS if count <= POINTS else POINTS * 2 // 3
    kept = np.unique(np.concatenate([decimate(values, each) for values in columns.values()]))
    window = average_window(count)
    # A keyframe's many tokens would lift the average of all that is around it.
    steady = ~frames["keyframe"] if not frames["keyframe"].all() else np.ones(count, bool)
    lines = [
        {
            "name": name,
            "values": finite_or_none(values[kept]),
            "average": finite_or_none(moving_average(np.where(steady, values, np.nan), window)[kept]),
        }
        for name, values in columns.items()
    ]
    infinite = np.flatnonzero(np.isinf(psnr))
    infinite_shown = infinite[thin(axis.values[infinite], MARKS)]
    highest = float(np.nanmax(columns["PSNR"])) if np.isfinite(psnr).any() else 60.0
    lowest = float(np.nanmin(columns["PSNR"])) if np.isfinite(psnr).any() else 60.0
    events, left_out = _events(axis, frames, problems)
    special = np.flatnonzero(frames["keyframe"] & (frames["keyframe_cause"] != "interval"))
    values = {
        "x": finite_or_none(axis.values[kept]),
        "title": axis.title,
        "seconds": axis.seconds,
        "lines": lines,
        # Above all others: what has no finite place of its own.
        "identical": {
            "x": finite_or_none(axis.values[infinite_shown]),
            "y": round(highest + max(1.0, 0.06 * (highest - lowest)), 2),
        },
        "events": events,
        "marks": finite_or_none(axis.values[special]) if len(special) <= LINES else [],
    }
    remarks = [
        f"Thick: moving average over {window} frames"
        + ("; thin: single frames." if steady.all() else ", keyframes left out; thin: single frames.")
    ]
    if len(kept) < count:
        remarks.append(
            f"{len(kept):,} of {count:,} frames are drawn: the lowest and highest of each stretch, so no peak is lost."
        )
    if len(infinite):
        remarks.append(
            f"▲ marks frames shown without any error (PSNR ∞, {len(infinite):,} frames);"
            " they are not in the average."
        )
    if left_out:
        remarks.append(f"{left_out:,} marks that would lie on others are not drawn.")
    return values, " ".join(remarks)


def _events(axis: Any, frames: dict[str, Column], problems: dict[str, Column]) -> tuple[dict[str, Any], int]:
    """Keyframes by cause and problems, with their places and texts; and how many were left out."""
    found: dict[str, tuple[Column, list[str]]] = {}
    causes = frames["keyframe_cause"]
    for cause in sorted(set(causes[frames["keyframe"]])):
        rows = np.flatnonzero(frames["keyframe"] & (causes == cause))
        texts = [f"keyframe ({cause}), frame {index}" for index in frames["index"][rows].tolist()]
        found[str(cause) or "keyframe"] = (axis.values[rows], texts)
    placed = problems["index"] >= 0
    if placed.any():
        index = problems["index"][placed]
        texts = [f"image {i}: {c}" for i, c in zip(index.tolist(), problems["cause"][placed], strict=True)]
        found["problem"] = (axis.place(index, frames["index"]), texts)
    events = {}
    left_out = 0
    for name, (places, texts) in found.items():
        shown = thin(places, MARKS)
        left_out += len(places) - len(shown)
        events[name] = {"x": finite_or_none(places[shown]), "text": [texts[i] for i in shown.tolist()]}
    return events, left_out


def histogram(compute: Column) -> tuple[dict[str, Any], str]:
    """Frames by the time that they took to compute, and a remark on those beyond the axis.

    Args:
        compute: (N,) ms, one or more.
    """
    p50, p99, edge = np.percentile(compute, (50, 99, 99.5)).tolist()
    low = float(compute.min())
    high = max(edge * 1.05, low + 1e-3)
    beyond = int((compute > high).sum())
    counts, edges = np.histogram(compute[compute <= high], bins=48, range=(low, high))
    values = {
        "centres": finite_or_none((edges[:-1] + edges[1:]) / 2),
        "counts": counts.tolist(),
        "width": round(float(edges[1] - edges[0]), 5),
        "labels": [f"{a:.2f} – {b:.2f}" for a, b in pairwise(edges)],
        "marks": [[round(p50, 3), f"p50 {p50:.2f} ms"], [round(p99, 3), f"p99 {p99:.2f} ms"]],
    }
    if not beyond:
        return values, ""
    verb = "frame is" if beyond == 1 else "frames are"
    return values, f"{beyond} {verb} beyond the axis; the longest took {float(compute.max()):.1f} ms."
