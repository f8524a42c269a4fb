"""How fast a recording is replayed, and how much memory that takes, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..errors import AutogazeError
from ..replay.cdr import IMAGE, header, image_cdr
from ..replay.clips import DrawnClip
from ..replay.mcap_writer import type_store
from .measure import machine

STEP = 33_333_333  # nanoseconds


def bench_replay(
    width: int, height: int, frames: int, storage: str, options: list[str], folder: Path | None = None
) -> dict[str, Any]:
    """Write a recording of a drawn clip as rgb8 images and replay it, a quarter of it first.

    Peak memory that is the same for a quarter and for all of it does not grow with the recording.

    Args:
        width: of the images.
        height: of the images.
        frames: length; a clip of 300 is repeated.
        storage: "mcap" or "sqlite3".
        options: further words for autogaze replay.
        folder: where the recording is written for the while, ``width * height * 3`` bytes a frame.
    """
    state = machine()
    runs = {}
    with tempfile.TemporaryDirectory(prefix="autogaze_bench_", dir=folder) as place:
        for name, count in (("a quarter", max(1, frames // 4)), ("all", frames)):
            bag = Path(place) / "bag"
            _write(bag, width, height, count, storage)
            runs[name] = _replay(bag, Path(place) / "run", options)
            for file in bag.iterdir():
                file.unlink()
            bag.rmdir()
    return {
        "bench": "replay",
        "machine": state,
        "images": {"width": width, "height": height, "encoding": "rgb8"},
        "storage": storage,
        "options": options,
        "frames": frames,
        "frames/s": runs["all"]["frames/s"],
        "peak memory (MB)": runs["all"]["peak memory (MB)"],
        "runs": runs,
    }


def _write(bag: Path, width: int, height: int, frames: int, storage: str) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    clip = list(DrawnClip(width, height, min(frames, 300)))
    with Writer(bag, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        connection = writer.add_connection("/camera/image_raw", IMAGE, typestore=type_store())
        for index in range(frames):
            stamp = 1_700_000_000_000_000_000 + index * STEP
            data = image_cdr(clip[index % len(clip)], "rgb8", header(stamp, "camera"))
            writer.write(connection, stamp, data)


def _replay(bag: Path, out: Path, options: list[str]) -> dict[str, Any]:
    words = [sys.executable, "-m", "autogaze_ros", "replay", str(bag), "-o", str(out)]
    busy, begun = _busy(), time.perf_counter()
    process = subprocess.Popen([*words, "--overwrite", "--no-report", *options], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall, busy = time.perf_counter() - begun, _busy() - busy
    own = usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise AutogazeError(f"autogaze replay ended with status {process.returncode}")
    summary = json.loads((out / "summary.json").read_text())
    return {
        "frames": summary["frames"],
        "wall, start of Python included (s)": round(wall, 2),
        "frames/s": round(summary["frames"] / wall, 1),
        "frames/s once started": summary["timing"]["frames_per_s"],
        "processor (s)": round(own, 2),
        "cores that others kept busy": round(max(0.0, busy - own) / wall, 2),
        "peak memory (MB)": round(usage.ru_maxrss / 1024, 1),
        "tokens a frame": summary["tokens"]["mean"],
        "psnr mean (dB)": summary["psnr"]["mean"],
        "compute (ms)": summary["timing"]["compute_ms"],
    }


def _busy() -> float:
    """Seconds that all processes of this machine have computed for since it started; 0 where that is not known."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return 0.0
    user, nice, system = (int(word) for word in words[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")
