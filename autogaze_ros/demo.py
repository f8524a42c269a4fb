"""The demo: a camera process plays a clip, a gaze_node gazes, and a bag, a video and a table come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .replay.mcap_writer import McapWriter, type_store
from .replay.video import VideoWriter


def run_demo(out: Path, camera: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Run the demo and print its table.

    Args:
        out: folder for gaze.mcap, overlay.mp4 and overlay.png.
        camera: parameters of the camera process.
        node: parameters of the gaze_node.

    Returns:
        The table's figures.

    Raises:
        DemoError: a process failed.
    """
    from .ros.processes import run

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
        recorder, sent = run(camera, node, writer, True, show)
    figures = summary(recorder, sent)
    pictures = write_video(bag, out / "overlay.mp4", out / "overlay.png")
    console.print(_table(figures))
    console.print(f"{bag}: the gaze, for ros2 bag play, Foxglove or PlotJuggler")
    console.print(f"{out / 'overlay.mp4'}, {out / 'overlay.png'}: {pictures} pictures, to look at")
    return figures


def summary(recorder: Any, sent: int) -> dict[str, Any]:
    """The figures of a run: counts, latencies in ms, tokens, ratios and PSNR after the first frame."""
    frames = recorder.figures
    steady = [f for f in frames if not f.keyframe]
    # Identical pictures have no finite PSNR; 100 dB stands for them, as nothing differs there.
    psnr = [min(f.psnr, 100.0) for f in steady]
    drops = {
        k.removeprefix("dropped: "): int(v)
        for k, v in recorder.diagnostics.items()
        if k.startswith("dropped: ")
    }
    p50, p99 = np.percentile([f.latency for f in frames], (50, 99)) * 1e3 if frames else (float("nan"),) * 2
    return {
        "frames sent": sent,
        "frames received": int(recorder.diagnostics.get("frames received", 0)),
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
            table.add_row(
                name,
                f"{value:.3f}"
                if name == "gaze ratio"
                else f"{value:.1f}"
                if isinstance(value, float)
                else str(value),
            )
    return table


def write_video(bag: Path, video: Path, sheet: Path, rate: int = 30) -> int:
    """Write the overlays of a bag as a video and a 3 x 3 contact sheet; returns how many there were."""
    from mcap.reader import make_reader

    def overlays() -> Any:
        with bag.open("rb") as file:
            for schema, _, message in make_reader(file).iter_messages():
                if schema and schema.name == "sensor_msgs/msg/CompressedImage":
                    data = type_store().deserialize_cdr(message.data, schema.name).data
                    yield cv2.imdecode(np.asarray(data), cv2.IMREAD_COLOR)

    count = sum(1 for _ in overlays())
    picked: list[NDArray[np.uint8]] = []
    wanted = {index * max(1, count - 1) // 8 for index in range(9)}
    with VideoWriter(video, rate) as writer:
        for index, picture in enumerate(overlays()):
            written = writer.write(picture)
            if index in wanted:
                picked.append(written)
    if picked:
        blank = np.zeros_like(picked[0])
        cells = (picked + [blank] * 9)[:9]
        rows = [np.hstack(cells[row * 3 : row * 3 + 3]) for row in range(3)]
        cv2.imwrite(str(sheet), np.vstack(rows))
    return count
