"""What every benchmark says about its times and its machine."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import AutogazeError


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Count, mean and percentiles of times, in milliseconds."""
    times = np.asarray(seconds, np.float64) * 1e3
    if not times.size:
        return {"count": 0}
    names = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    shown = {name: round(float(np.percentile(times, q)), 3) for name, q in names.items()}
    return {"count": int(times.size), "mean": round(float(times.mean()), 3), **shown}


class BenchError(AutogazeError, ValueError):
    """An argument that can't be measured with; the message names it."""


def must_be_positive(**values: float) -> None:
    """Refuse lengths, counts and rates that are not above 0.

    Raises:
        BenchError: one is not.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise BenchError(f"{name} must be above 0, got {value}")


def finite(value: Any) -> Any:
    """The same with None in place of every number that JSON does not know: NaN and the infinities."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
