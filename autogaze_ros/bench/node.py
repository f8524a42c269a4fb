"""How the node behaves between a camera process and a subscriber process, over DDS."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..demo import summary
from ..ros.processes import run
from .measure import machine, percentiles


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
    """
    state = machine()
    played = _play(width, height, rate, seconds, node)
    result: dict[str, Any] = {
        "bench": "node",
        "machine": state,
        "images": {"width": width, "height": height, "encoding": "rgb8"},
        "node": node,
        "run": played,
    }
    if overload:
        busy = played["compute and publish p50 (ms)"]
        result["overload"] = _play(width, height, 2000 / busy, min(seconds, 20), node)
    return result


def _play(width: int, height: int, rate: float, seconds: float, node: dict[str, Any]) -> dict[str, Any]:
    camera = {
        "width": width,
        "height": height,
        "frames": 30,
        "rate": rate,
        "preload": True,
        "limit": round(rate * seconds),
    }
    recorder, sent = run(camera, node, None, False, lambda _: None)
    figures = summary(recorder, sent)
    latencies = [f.latency for f in recorder.figures]
    stamps = np.diff([f.stamp for f in recorder.figures]) / 1e9
    own = recorder.diagnostics
    return {
        "rate (Hz)": round(rate, 1),
        "rate achieved by the camera (Hz)": round(
            sent / max(1e-9, (recorder.figures[-1].stamp - recorder.figures[0].stamp) / 1e9), 1
        ),
        "frames sent": sent,
        "frames received": figures["frames received"],
        "frames answered": figures["frames answered"],
        "dropped": figures["dropped"],
        "latency, stamp to fixations at the subscriber (ms)": percentiles(latencies),
        "of it, stamp to the node's receipt (ms)": _own(own, "arrival, stamp to receipt"),
        "of it, compute (ms)": _own(own, "compute"),
        "compute and publish p50 (ms)": float(own["latency, stamp to publish p50 (ms)"])
        - float(own["arrival, stamp to receipt p50 (ms)"]),
        "stamps increase": bool((stamps > 0).all()),
    }


def _own(diagnostics: dict[str, str], title: str) -> dict[str, float]:
    return {q: float(diagnostics[f"{title} {q} (ms)"]) for q in ("p50", "p99")}
