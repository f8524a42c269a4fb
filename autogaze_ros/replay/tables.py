"""The tables of a run: one line a fixation, a frame and a problem."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from ..gaze.rows import FIXATION_DTYPE
from .cdr import FIXATIONS, fixations_of
from .journal import Journal
from .reader import Problem

#: Lines in a row group of the Parquet file, at least.
GROUP = 65_536

_NAMES = FIXATION_DTYPE.names or ()
FIXATION_SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("index", pa.int64()),
        ("stamp", pa.int64()),
        *((name, pa.from_numpy_dtype(FIXATION_DTYPE[name])) for name in _NAMES),
    ]
)
FRAME_COLUMNS = (
    "index", "stamp", "frame_index", "keyframe", "keyframe_cause", "width", "height", "tokens", "token_ratio",
    "gaze_ratio", "update_ratio", "psnr", "measured_loss", "predicted_loss",
)  # fmt: skip


def write_fixations(folder: Path, journals: dict[str, Journal]) -> None:
    """Write fixations.parquet and fixations.csv, topic by topic."""
    with ExitStack() as stack:
        parquet = stack.enter_context(
            pyarrow.parquet.ParquetWriter(folder / "fixations.parquet", FIXATION_SCHEMA, compression="zstd")
        )
        text = stack.enter_context(
            pyarrow.csv.CSVWriter(
                str(folder / "fixations.csv"),
                FIXATION_SCHEMA,
                write_options=pyarrow.csv.WriteOptions(quoting_style="needed"),
            )
        )
        for table in _grouped(journals):
            parquet.write_table(table, row_group_size=len(table))
            text.write_table(table)


def _grouped(journals: dict[str, Journal]) -> Iterator[pa.Table]:
    parts: list[pa.RecordBatch] = []
    lines = 0
    for topic, journal in journals.items():
        for batch in _fixations(topic, journal):
            if not len(batch):  # frames without a fixation; Parquet takes no row group of none
                continue
            parts.append(batch)
            lines += len(batch)
            if lines >= GROUP:
                yield pa.Table.from_batches(parts)
                parts, lines = [], 0
    if parts:
        yield pa.Table.from_batches(parts)


def _fixations(topic: str, journal: Journal, frames: int = 256) -> Iterator[pa.RecordBatch]:
    """The fixations of a topic, so many frames at a time."""
    gathered: list[tuple[dict[str, Any], NDArray[Any]]] = []
    data = (data for _, _, kind, data in journal.messages() if kind == FIXATIONS)
    for row, message in zip(journal.rows(), data, strict=True):
        gathered.append((row, fixations_of(bytes(message), row["tokens"])))
        if len(gathered) == frames:
            yield _batch(topic, gathered)
            gathered = []
    if gathered:
        yield _batch(topic, gathered)


def _batch(topic: str, gathered: list[tuple[dict[str, Any], NDArray[Any]]]) -> pa.RecordBatch:
    counts = [len(rows) for _, rows in gathered]
    rows = np.concatenate([rows for _, rows in gathered])
    frames = [np.repeat([row[name] for row, _ in gathered], counts) for name in ("index", "stamp")]
    columns = [np.ascontiguousarray(rows[name]) for name in _NAMES]
    arrays = [pa.array([topic] * len(rows), pa.string()), *map(pa.array, frames), *map(pa.array, columns)]
    return pa.RecordBatch.from_arrays(arrays, schema=FIXATION_SCHEMA)


def write_frames(folder: Path, journals: dict[str, Journal]) -> None:
    """Write frames.csv and, apart as it is never the same twice, timing.csv."""
    with (folder / "frames.csv").open("w", newline="") as one, (folder / "timing.csv").open("w") as other:
        frames, timing = csv.writer(one, lineterminator="\n"), csv.writer(other, lineterminator="\n")
        frames.writerow(("topic", *FRAME_COLUMNS))
        timing.writerow(("topic", "index", "compute_ms"))
        for topic, journal in journals.items():
            for row in journal.rows():
                frames.writerow((topic, *(_shown(row[name]) for name in FRAME_COLUMNS)))
                timing.writerow((topic, row["index"], f"{row['compute_ms']:.3f}"))


def write_problems(folder: Path, problems: Iterable[Problem]) -> None:
    """Write problems.csv."""
    with (folder / "problems.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("topic", "index", "stamp", "cause", "text"))
        for problem in problems:
            table.writerow((problem.topic, problem.index, problem.stamp, problem.cause, problem.text))


def _shown(value: Any) -> str:
    """A number or word as the tables show it: float32 by its shortest digits, 0 and 1 for no and yes."""
    if isinstance(value, bool):
        return str(int(value))
    return str(np.float32(value)) if isinstance(value, float) else str(value)
