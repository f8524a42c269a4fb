"""The summary of a run and of several."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
from array import array
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..bench.measure import machine, percentiles
from .journal import Journal
from .reader import Problem

#: Identical pictures have no finite PSNR; so many dB stand for them in means, as nothing differs there.
IDENTICAL = 100.0
#: Causes of problems after which the image was not used.
DROPPING = frozenset(("size", "step", "short", "encoding", "undecodable", "message", "source", "fault"))


def sha256(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def code() -> dict[str, str]:
    """Version of this package and, in a checkout, the commit."""
    root = Path(__file__).resolve().parents[2]
    commit = ""
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        try:
            commit = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            commit = ""
    return {"version": __version__, "commit": commit}


class Figures:
    """Numbers of frames, kept in a few bytes each."""

    NAMES = ("tokens", "token_ratio", "gaze_ratio", "update_ratio", "psnr", "compute_ms")

    def __init__(self) -> None:
        self.columns = {name: array("d") for name in self.NAMES}
        self.keyframes: Counter[str] = Counter()
        self.stamps: list[int] = []

    def add(self, row: dict[str, Any]) -> None:
        """Take in a frame's line."""
        for name, column in self.columns.items():
            column.append(row[name])
        if row["keyframe"]:
            self.keyframes[row["keyframe_cause"]] += 1
        self.stamps[1:] = [row["stamp"]]

    def extend(self, other: Figures) -> None:
        """Take in all frames of another."""
        for name, column in self.columns.items():
            column.extend(other.columns[name])

    @property
    def seconds(self) -> list[float]:
        """Computing time of each frame."""
        return [time / 1e3 for time in self.columns["compute_ms"]]

    @property
    def frames(self) -> int:
        """How many frames."""
        return len(self.columns["tokens"])

    def means(self) -> dict[str, Any]:
        """Sums and means; None where there is no frame."""
        tokens = np.array(self.columns["tokens"])
        psnr = np.minimum(self.columns["psnr"], IDENTICAL)
        return {
            "tokens": {
                "total": int(tokens.sum()),
                "mean": _rounded(np.mean(tokens)) if self.frames else None,
                "max": int(tokens.max()) if self.frames else None,
            },
            **{
                name: _rounded(np.mean(self.columns[name])) if self.frames else None
                for name in ("token_ratio", "gaze_ratio", "update_ratio")
            },
            "psnr": {
                "mean": _rounded(np.mean(psnr)) if self.frames else None,
                "min": _rounded(np.min(psnr)) if self.frames else None,
            },
        }


def _topic(journal: Journal, problems: list[Problem]) -> tuple[dict[str, Any], Figures]:
    """What came of a topic."""
    figures = Figures()
    for row in journal.rows():
        figures.add(row)
    dropped = Counter(problem.cause for problem in problems if problem.cause in DROPPING)
    if overload := (journal.end or {}).get("overload"):
        dropped["overload"] = overload
    return {
        "frames": figures.frames,
        "dropped": dict(sorted(dropped.items())),
        "problems": dict(sorted(Counter(problem.cause for problem in problems).items())),
        "keyframes": dict(sorted(figures.keyframes.items())),
        "first stamp": figures.stamps[0] if figures.stamps else None,
        "last stamp": figures.stamps[-1] if figures.stamps else None,
        **figures.means(),
    }, figures


def write_summary(
    folder: Path, plan: dict[str, Any], journals: dict[str, Journal], problems: list[Problem], wall: float
) -> dict[str, Any]:
    """Write summary.json of one run.

    All of it but ``timing`` and ``host`` is the same each time.

    Args:
        folder: of the run.
        plan: what was asked for: inputs, settings, mode and selection.
        journals: of the topics, by name.
        problems: of the run.
        wall: seconds that this run took; of a resumed one its last part.
    """
    topics: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {}
    total = Figures()
    for topic, journal in journals.items():
        topics[topic], figures = _topic(journal, [p for p in problems if p.topic == topic])
        seconds[topic] = figures.seconds
        total.extend(figures)
    ends = [journal.end or {} for journal in journals.values()]
    source = {name: ends[0].get(name, "") for name in ("source", "model")} if ends else {}
    mode = dict(plan["mode"])
    if mode["name"] == "live":
        mode["cost_ms"] = {topic: (journal.end or {}).get("cost_ms") for topic, journal in journals.items()}
    result = {
        "autogaze_ros": code(),
        "inputs": plan["inputs"],
        "mode": mode,
        "selection": plan["selection"],
        "settings": plan["settings"],
        "source": {
            "name": source.get("source", ""),
            "model": source.get("model", ""),
            "model_sha256": plan["model_sha256"],
        },
        "frames": total.frames,
        "dropped": _summed(topic["dropped"] for topic in topics.values()),
        "problems": dict(sorted(Counter(problem.cause for problem in problems).items())),
        "input problems": [problem.text for problem in problems if not problem.topic],
        **total.means(),
        "topics": topics,
        "timing": {
            "wall_s": round(wall, 3),
            "frames_per_s": round(total.frames / wall, 1) if wall > 0 else None,
            "compute_ms": percentiles(total.seconds),
            "compute_ms by topic": {name: percentiles(times) for name, times in seconds.items()},
        },
        "host": {**machine(), "device": ends[0].get("device", "") if ends else ""},
    }
    _write(folder / "summary.json", result)
    return result


def write_combined(out: Path, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Write summary.json over several runs.

    Args:
        out: the folder that holds the runs' folders.
        runs: folder, input and either the summary or the error of each.
    """
    lines: list[dict[str, Any]] = []
    for run in runs:
        line = {"folder": run["folder"], "input": run["input"]}
        if "error" in run:
            lines.append(line | {"error": run["error"]})
            continue
        summary = run["summary"]
        names = (
            "frames",
            "dropped",
            "problems",
            "tokens",
            "token_ratio",
            "gaze_ratio",
            "update_ratio",
            "psnr",
        )
        lines.append(line | {name: summary[name] for name in names})
    good = [run["summary"] for run in runs if "summary" in run]
    result = {
        "autogaze_ros": code(),
        "runs": lines,
        "failed": sum("error" in line for line in lines),
        "frames": sum(summary["frames"] for summary in good),
        "dropped": _summed(summary["dropped"] for summary in good),
        "problems": _summed(summary["problems"] for summary in good),
        "tokens": {"total": sum(summary["tokens"]["total"] for summary in good)},
        "settings": good[0]["settings"] if good else {},
        "mode": {"name": good[0]["mode"]["name"]} if good else {},
        "host": machine(),
    }
    _write(out / "summary.json", result)
    return result


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that it is there as a whole or not at all: it marks a run as finished."""
    draft = path.with_name(path.name + ".draft")
    draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    draft.replace(path)


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))


def _rounded(value: Any) -> float | None:
    """A number for JSON, which knows neither NaN nor infinity."""
    return round(float(value), 6) if math.isfinite(value) else None
