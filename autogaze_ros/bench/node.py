"""How the node behaves between a camera process and a subscriber process, over DDS."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..demo import summary
from ..ros.processes import run
from ..settings import Settings
from .measure import BenchError, machine, must_be_positive, percentiles


def bench_node(
    width: int, height: int, rate: float, seconds: float, node: dict[str, Any], overload: bool = False
) -> dict[str, Any]:
    """Play a drawn clip at a rate into a gaze_node and time its fixations from the images' stamps.

    Args:
        width: of the images.
        height: of the images.
        rate: images a second.
        seconds: length.
        node: parameters of the gaze_node.
        overload: play once more, at twice the rate that the first run shows the node can bear.

    Returns:
        What was measured; "interrupted" is the number of the signal that ended it early, where one did.

    Raises:
        BenchError: a number that is not above 0, or less than one image.
        SettingsError: the node would not take its parameters.
        DemoError: a process failed.
    """
    must_be_positive(width=width, height=height, rate=rate, seconds=seconds)
    if rate * seconds < 1:
        raise BenchError(f"at a rate of {rate}, {seconds} s are over before the first image")
    Settings.from_mapping(node)
    state = machine()
    played = _play(width, height, rate, seconds, node)
    result: dict[str, Any] = {
        "bench": "node",
        "machine": state,
        "images": {"width": width, "height": height, "encoding": "rgb8"},
        "node": node,
        "run": played,
    }
    busy = played["compute and publish p50 (ms)"]
    if overload and busy > 0 and "interrupted" not in played:  # NaN is not, either: no image was answered
        result["overload"] = _play(width, height, 2000 / busy, min(seconds, 20), node)
    for part in (played, result.get("overload", {})):
        result |= {name: part.pop(name) for name in ("interrupted",) if name in part}
    return result


def _play(width: int, height: int, rate: float, seconds: float, node: dict[str, Any]) -> dict[str, Any]:
    camera = {
        "width": width,
        "height": height,
        "frames": 80,
        "rate": rate,
        "preload": 60,
        "limit": max(1, round(rate * seconds)),
    }
    run_of = run(camera, node, None, False, lambda _: None)
    recorder, sent = run_of.recorder, run_of.sent
    figures = summary(recorder, sent)
    latencies = [f.latency for f in recorder.figures]
    stamps = np.diff([f.stamp for f in recorder.figures]) / 1e9
    own = recorder.diagnostics
    return {
        "rate (Hz)": round(rate, 1),
        "rate achieved by the camera (Hz)": (
            round((sent - 1) / run_of.seconds, 1) if run_of.seconds > 0 else math.nan
        ),
        "frames sent": sent,
        "lost on the way": figures["lost on the way"],
        "frames received": figures["frames received"],
        "frames answered": figures["frames answered"],
        "dropped by the node": figures["dropped by the node"],
        "latency, stamp to fixations at the subscriber (ms)": percentiles(latencies),
        "of it, stamp to the node's receipt (ms)": _own(own, "arrival, stamp to receipt"),
        "of it, compute (ms)": _own(own, "compute"),
        "compute and publish p50 (ms)": round(
            _own(own, "latency, stamp to publish")["p50"] - _own(own, "arrival, stamp to receipt")["p50"], 3
        ),
        "stamps increase": bool((stamps > 0).all()),
        **({"interrupted": run_of.signal} if run_of.signal else {}),
    }


def _own(diagnostics: dict[str, str], title: str) -> dict[str, float]:
    return {q: float(diagnostics.get(f"{title} {q} (ms)", "nan")) for q in ("p50", "p99")}
