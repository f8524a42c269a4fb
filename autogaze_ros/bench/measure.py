"""What every benchmark says about its times and its machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Count, mean and percentiles of times, in milliseconds."""
    times = np.asarray(seconds, np.float64) * 1e3
    if not times.size:
        return {"count": 0}
    names = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    shown = {name: round(float(np.percentile(times, q)), 3) for name, q in names.items()}
    return {"count": int(times.size), "mean": round(float(times.mean()), 3), **shown}


def machine() -> dict[str, Any]:
    """Processor, cores, load and versions."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "load before": round(os.getloadavg()[0], 2),
        "autogaze_ros": __version__,
        "python": platform.python_version(),
        **{
            name: found
            for name in ("numpy", "opencv-python-headless", "torch", "ros-rclpy")
            if (found := _version(name))
        },
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
