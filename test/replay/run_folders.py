"""Run folders written by hand, for what a replay of a short clip would not bring up."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from autogaze_ros.gaze.tokens import DEFAULT_LAYOUT

STEP = 33_000_000
COUNT = DEFAULT_LAYOUT.count


@dataclass
class Row:
    """A frame; what is not given follows from the rest."""

    ids: Sequence[int] = (0,)
    psnr: float = 40.0
    cause: str = ""
    stamp: int | None = None
    index: int | None = None
    confidence: float = 1.0


def write_run(
    folder: Path,
    topics: dict[str, list[Row]],
    size: tuple[int, int] = (64, 48),
    problems: Sequence[tuple[Any, ...]] = (),
    summary: dict[str, Any] | None = None,
) -> Path:
    """A run folder of these frames, each with the cells of its token ids."""
    folder.mkdir(parents=True)
    columns: dict[str, list[Any]] = {name: [] for name in ("topic", "index", "stamp", "tile", "token_id")}
    columns |= {name: [] for name in ("scale", "grid", "row", "col", "x0", "y0", "x1", "y1")}
    columns |= {name: [] for name in ("confidence", "predicted_loss")}
    frames = [
        "topic,index,stamp,frame_index,keyframe,keyframe_cause,width,height,tokens,token_ratio,gaze_ratio,"
        "update_ratio,psnr,measured_loss,predicted_loss"
    ]
    timing = ["topic,index,compute_ms"]
    for topic, rows in topics.items():
        for number, row in enumerate(rows):
            index = number if row.index is None else row.index
            stamp = number * STEP if row.stamp is None else row.stamp
            ids = np.array(row.ids, int)
            ratio = min(1.0, sum(1 / g**2 for g in DEFAULT_LAYOUT.locate(ids)[:, 1].tolist()))
            loss = 10 ** (-row.psnr / 20) if math.isfinite(row.psnr) else 0.0
            frames.append(
                f"{topic},{index},{stamp},{number},{int(bool(row.cause))},{row.cause},{size[0]},{size[1]},{len(ids)},"
                f"{len(ids) / COUNT},{ratio},{ratio},{row.psnr},{loss},nan"
            )
            timing.append(f"{topic},{index},{5 + number % 7}")
            places = [*DEFAULT_LAYOUT.locate(ids).T, *DEFAULT_LAYOUT.boxes(ids, *size).T]
            for name, values in zip(
                ("scale", "grid", "row", "col", "x0", "y0", "x1", "y1"), places, strict=True
            ):
                columns[name] += values.tolist()
            columns["token_id"] += ids.tolist()
            for name, value in (
                ("topic", topic), ("index", index), ("stamp", stamp), ("tile", 0),
                ("confidence", row.confidence), ("predicted_loss", math.nan),
            ):  # fmt: skip
                columns[name] += [value] * len(ids)
    (folder / "frames.csv").write_text("\n".join(frames) + "\n")
    (folder / "timing.csv").write_text("\n".join(timing) + "\n")
    with (folder / "problems.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("topic", "index", "stamp", "cause", "text"), *problems])
    pyarrow.parquet.write_table(pa.table(columns), folder / "fixations.parquet")
    (folder / "summary.json").write_text(
        json.dumps(summary or {"settings": {"source": "greedy", "budget": 20}})
    )
    return folder
