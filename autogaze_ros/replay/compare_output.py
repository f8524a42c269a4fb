"""What a comparison of two runs comes to: JSON, a table for the terminal and a picture."""

from __future__ import annotations

import json
import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .compare import Comparison, TopicComparison

#: Frames of one run that the terminal names one by one.
NAMED = 10


def write_json(comparison: Comparison, path: Path) -> None:
    """Write a comparison as JSON: figures a topic, the first difference, and columns of all frames.

    Numbers that are not finite are the texts "inf" and "-inf", or null where unknown.
    """
    topics = {}
    for topic in comparison.topics:
        first = topic.first
        topics[topic.topic] = {
            **topic.figures(),
            "equal": topic.equal,
            "matched by": topic.matched_by,
            "first difference": first and {"index": first.index_a, "stamp": first.stamp, "in": first.differs},
            "only in A": [{"index": index, "stamp": stamp} for index, stamp in topic.only_a],
            "only in B": [{"index": index, "stamp": stamp} for index, stamp in topic.only_b],
            "frames": {
                "index A": [f.index_a for f in topic.frames],
                "index B": [f.index_b for f in topic.frames],
                "stamp": [f.stamp for f in topic.frames],
                "iou": [_json(f.iou) for f in topic.frames],
                "tokens A": [f.tokens[0] for f in topic.frames],
                "tokens B": [f.tokens[1] for f in topic.frames],
                "psnr difference": [_json(f.psnr_difference) for f in topic.frames],
                "differs in": [" ".join(f.differs) for f in topic.frames],
            },
        }
    result = {
        "a": str(comparison.a),
        "b": str(comparison.b),
        "equal": comparison.equal,
        "tolerance": comparison.tolerance,
        "topics": topics,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def print_table(comparison: Comparison, console: Console) -> None:
    """Print the figures of all topics, the first difference of each, and the frames of one run only."""
    table = Table(title="A against B", title_justify="left", caption_justify="left")
    table.add_column("")
    for topic in comparison.topics:
        table.add_column(topic.topic, justify="right")
    columns = [_lines(topic) for topic in comparison.topics]
    for name in columns[0] if columns else ():
        table.add_row(name, *(column[name] for column in columns))
    console.print(f"A: {comparison.a}", f"B: {comparison.b}", sep="\n", markup=False, highlight=False)
    console.print(table)
    for topic in comparison.topics:
        for side, frames in (("A", topic.only_a), ("B", topic.only_b)):
            if frames:
                named = ", ".join(str(index) for index, _ in frames[:NAMED])
                more = f" and {len(frames) - NAMED} more" if len(frames) > NAMED else ""
                console.print(
                    f"{topic.topic}: only in {side}: frames {named}{more}", markup=False, highlight=False
                )
    console.print("The runs are equal." if comparison.equal else "The runs differ.", highlight=False)


def _lines(topic: TopicComparison) -> dict[str, str]:
    """The lines of a topic in the table."""
    figures, first = topic.figures(), topic.first
    differences = ", ".join(f"{count} {kind}" for kind, count in figures["differences"].items())

    def pair(name: str, digits: int) -> str:
        a, b = figures[f"{name} A"], figures[f"{name} B"]
        return "–" if a is None else f"{a:.{digits}f} / {b:.{digits}f}"

    def number(name: str, digits: int, sign: str = "") -> str:
        return "–" if figures[name] is None else f"{figures[name]:{sign}.{digits}f}"

    return {
        "frames in both": f"{figures['frames in both']}",
        "only in A / only in B": f"{len(topic.only_a)} / {len(topic.only_b)}",
        "frames that differ": f"{figures['frames that differ']}",
        "differ in": differences or "nothing",
        "first frame that differs": "none"
        if first is None
        else f"{first.index_a} ({', '.join(first.differs)})",
        "IoU of the masks, mean": number("iou mean", 4),
        "IoU of the masks, least": number("iou min", 4),
        "tokens a frame, A / B": pair("tokens a frame", 2),
        "PSNR in dB, A / B": pair("psnr mean", 2),
        "PSNR difference in dB, mean": number("psnr difference mean", 3, "+"),
        "PSNR difference in dB, largest": number("psnr difference largest", 3, "+"),
        "frames with infinite or no PSNR": f"{figures['frames without two finite psnr']}",
    }


def _json(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return round(value, 6) if math.isfinite(value) else str(value)
