"""The demo: a camera process plays a clip, a gaze_node gazes, and a bag, a video and a table come of it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .images import stamp_of
from .replay.mcap_writer import McapWriter, type_store
from .replay.video import VideoWriter
from .settings import Settings

#: Width in pixels of a picture on the contact sheet, at most.
CELL = 640


def run_demo(out: Path, camera: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Run the demo and print its table.

    Args:
        out: folder for gaze.mcap, overlay.mp4 and overlay.png.
        camera: parameters of the camera process.
        node: parameters of the gaze_node.

    Returns:
        The table's figures.

    Raises:
        SettingsError: the node would not take its parameters.
        ClipError: a bag that can't be read or has no images.
        DemoError: a process failed.
        Interrupted: a signal ended it early; what there was is written and shown.
    """
    if camera.get("bag"):
        node = {"image_transport": _transport_of(Path(camera["bag"]), camera.get("bag_topic", ""))} | node
    Settings.from_mapping(node)
    from .ros.processes import Interrupted, run

    bag = out / "gaze.mcap"
    console = Console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        console=console,
    )
    task = bar.add_task("gazing", total=None, text="")

    def show(recorder: Any) -> None:
        if recorder.figures:
            last = recorder.figures[-1]
            bar.update(
                task,
                text=f"{len(recorder.figures)} frames, now {last.tokens} tokens, {last.latency * 1e3:.0f} ms",
            )

    with bar, McapWriter(bag) as writer:
        played = run(camera, node, writer, True, show)
    figures = summary(played.recorder, played.sent)
    pictures = write_video(bag, out / "overlay.mp4", out / "overlay.png")
    console.print(_table(figures))
    console.print(f"{bag}: the gaze, for ros2 bag play, Foxglove or PlotJuggler")
    if pictures:
        console.print(f"{out / 'overlay.mp4'}, {out / 'overlay.png'}: {pictures} pictures, to look at")
    if played.signal:
        raise Interrupted(played.signal)
    return figures


def _transport_of(bag: Path, topic: str) -> str:
    """How a bag's images were recorded: raw or compressed.

    Raises:
        ClipError: the bag can't be read or has no such image topic.
    """
    from .replay.reader import open_input

    with open_input(bag) as recording:
        name = recording.choose([topic] if topic else [])[0]
        return "compressed" if recording.topics[name].kind.endswith("CompressedImage") else "raw"


def summary(recorder: Any, sent: int) -> dict[str, Any]:
    """The figures of a run: counts, latencies in ms, tokens, ratios and PSNR after the first frame.

    Of the images that were lost on their way the gaze_node can only know those between two that it received, by
    gaps in their numbers ("transport"); the others, before the first and after the last one, "never arrived".
    """
    frames = recorder.figures
    steady = [f for f in frames if not f.keyframe]
    # Identical pictures have no finite PSNR; 100 dB stands for them, as nothing differs there.
    psnr = [min(f.psnr, 100.0) for f in steady]
    drops = {
        k.removeprefix("dropped: "): int(v)
        for k, v in recorder.diagnostics.items()
        if k.startswith("dropped: ")
    }
    received = int(recorder.diagnostics.get("frames received", 0))
    p50, p99 = np.percentile([f.latency for f in frames], (50, 99)) * 1e3 if frames else (float("nan"),) * 2
    return {
        "frames sent": sent,
        "never arrived": max(0, sent - received - drops.get("transport", 0)),
        "frames received": received,
        "frames answered": len(frames),
        "dropped": drops,
        "latency p50 (ms)": float(p50),
        "latency p99 (ms)": float(p99),
        "compute p50 (ms)": float(recorder.diagnostics.get("compute p50 (ms)", "nan")),
        "keyframes": sum(f.keyframe for f in frames),
        "tokens a frame": float(np.mean([f.tokens for f in steady])) if steady else float("nan"),
        "gaze ratio": float(np.mean([f.gaze_ratio for f in steady])) if steady else float("nan"),
        "PSNR mean (dB)": float(np.mean(psnr)) if psnr else float("nan"),
        "PSNR min (dB)": float(np.min(psnr)) if psnr else float("nan"),
    }


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title="What the node did")
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in figures.items():
        if isinstance(value, dict):
            lost = ", ".join(f"{count} {cause}" for cause, count in value.items() if count)
            table.add_row(name, lost or "none")
        else:
            table.add_row(name, _shown(value, 3 if name == "gaze ratio" else 1))
    return table


def _shown(value: Any, digits: int) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def write_video(bag: Path, video: Path, sheet: Path) -> int:
    """Write the overlays of a bag as a video and a 3 x 3 contact sheet; returns how many there were.

    The video plays at the rate of their stamps. Where there are none nothing is written.
    """
    from mcap.reader import make_reader

    def overlays() -> Any:
        with bag.open("rb") as file:
            for schema, _, message in make_reader(file).iter_messages():
                if schema and schema.name == "sensor_msgs/msg/CompressedImage":
                    yield type_store().deserialize_cdr(message.data, schema.name)

    stamps = [stamp_of(message) for message in overlays()]
    count = len(stamps)
    if not count:
        return 0
    picked: list[NDArray[np.uint8]] = []
    wanted = {index * max(1, count - 1) // 8 for index in range(9)}
    with VideoWriter(video, rate_of(stamps)) as writer:
        for index, message in enumerate(overlays()):
            picture: Any = cv2.imdecode(np.asarray(message.data), cv2.IMREAD_COLOR)
            written = writer.write(picture)
            if index in wanted:
                picked.append(_small(written))
    blank = np.zeros_like(picked[0])
    cells = (picked + [blank] * 9)[:9]
    rows = [np.hstack(cells[row * 3 : row * 3 + 3]) for row in range(3)]
    cv2.imwrite(str(sheet), np.vstack(rows))
    return count


def rate_of(stamps: list[int]) -> float:
    """Pictures a second by the median time between stamps in nanoseconds, 30 where these say nothing."""
    steps = [after - before for before, after in itertools.pairwise(stamps) if after > before]
    return min(240.0, max(0.1, 1e9 / float(np.median(steps)))) if steps else 30.0


def _small(picture: Any) -> Any:
    height, width = picture.shape[:2]
    if width <= CELL:
        return picture
    return cv2.resize(picture, (CELL, max(1, round(height * CELL / width))), interpolation=cv2.INTER_AREA)
