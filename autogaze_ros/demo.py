"""The demo: a camera process plays a clip, gaze_nodes gaze, and bags, videos and a table come of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
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
BAG, VIDEO, SHEET = "gaze.mcap", "overlay.mp4", "overlay.png"


def run_demo(out: Path, camera: dict[str, Any], nodes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Play a clip into one gaze_node after the other and print a table of what each did.

    Args:
        out: folder for gaze.mcap, overlay.mp4 and overlay.png of the first; the others have folders in it.
        camera: parameters of the camera process.
        nodes: parameters of each gaze_node by its name.

    Returns:
        The table's columns.

    Raises:
        SettingsError: a node would not take its parameters.
        ClipError: a bag that can't be read or has no images.
        DemoError: a process failed.
        Interrupted: a signal ended it early; what there was is written and shown.
    """
    if camera.get("bag"):
        transport = _transport_of(Path(camera["bag"]), camera.get("bag_topic", ""))
        nodes = {name: {"image_transport": transport} | node for name, node in nodes.items()}
    for node in nodes.values():
        Settings.from_mapping(node)
    folders = {name: out / name if index else out for index, name in enumerate(nodes)}
    if clip := camera.get("bag") or camera.get("video"):
        _check_input(Path(clip), folders.values())
    from .ros.processes import Interrupted

    console = Console()
    columns: dict[str, dict[str, Any]] = {}
    told: list[str] = []
    try:
        for name, node in nodes.items():
            folder = folders[name]
            columns[name], number = _play(folder, camera, node, name, console)
            told.append(f"{folder / BAG}: the gaze of {name}, for ros2 bag play, Foxglove or PlotJuggler")
            if pictures := write_video(folder / BAG, folder / VIDEO, folder / SHEET):
                told.append(f"{folder / VIDEO}, {SHEET}: {pictures} pictures, to look at")
            if number:
                raise Interrupted(number)
    finally:  # one that fails takes nothing from those before it
        if columns:
            console.print(_table(columns))
        for line in told:
            console.print(line, soft_wrap=True)
    return list(columns.values())


def _play(
    folder: Path, camera: dict[str, Any], node: dict[str, Any], name: str, console: Console
) -> tuple[dict[str, Any], int]:
    """Record one gaze_node; returns its figures, and the number of the signal that ended it early, or 0."""
    from .ros.processes import run

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        console=console,
    )
    task = bar.add_task(name, total=None, text="starting")

    def show(recorder: Any) -> None:
        if recorder.figures:
            last = recorder.figures[-1]
            now = f"tokens now {last.tokens}, latency {last.latency * 1e3:.0f} ms"
            bar.update(task, text=f"{len(recorder.figures)} frames, {now}")

    with bar, McapWriter(folder / BAG) as writer:
        played = run(camera, node, writer, True, show)
    return summary(played.recorder, played.sent), played.signal


def _check_input(clip: Path, folders: Iterable[Path]) -> None:
    """Refuse a clip that isn't there, or that the demo would write over.

    Raises:
        ClipError: says which.
    """
    from .replay.clips import ClipError

    if not clip.exists():
        raise ClipError(f"{clip}: there is no such file or folder")
    parts = {clip.resolve(), *(part.resolve() for part in clip.glob("*"))}
    for folder in folders:
        for name in (BAG, VIDEO):
            if (folder / name).resolve() in parts:
                raise ClipError(
                    f"{folder / name} would be written over while it is played; choose another --out"
                )


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
    """The figures of a run: counts, latencies in ms; tokens, ratios and PSNR of all frames but the keyframes."""
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
    drops.pop("transport", None)  # it sees gaps only; what was sent and didn't arrive is known here
    return {
        "source": recorder.source,
        "frames sent": sent,
        "lost on the way": max(0, sent - received),
        "frames received": received,
        "frames answered": len(frames),
        "dropped by the node": drops,
        "latency p50 (ms)": float(p50),
        "latency p99 (ms)": float(p99),
        "compute p50 (ms)": float(recorder.diagnostics.get("compute p50 (ms)", "nan")),
        "keyframes": sum(f.keyframe for f in frames),
        "keyframes aside: tokens a frame": float(np.mean([f.tokens for f in steady]))
        if steady
        else float("nan"),
        "keyframes aside: gaze ratio": float(np.mean([f.gaze_ratio for f in steady]))
        if steady
        else float("nan"),
        "keyframes aside: PSNR mean (dB)": float(np.mean(psnr)) if psnr else float("nan"),
        "keyframes aside: PSNR min (dB)": float(np.min(psnr)) if psnr else float("nan"),
    }


def _table(columns: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="What the node did")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for name in next(iter(columns.values())):
        table.add_row(name, *(_shown(name, figures[name]) for figures in columns.values()))
    return table


def _shown(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {cause}" for cause, count in value.items() if count) or "none"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{3 if name.endswith('gaze ratio') else 1}f}" if math.isfinite(value) else "-"


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
