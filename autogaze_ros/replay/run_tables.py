"""Reads what a replay wrote: the tables of a run's folder, column by column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from ..errors import AutogazeError

Column = NDArray[Any]

_FRAME_COLUMNS: dict[str, type] = {
    "topic": str,
    "index": int,
    "stamp": int,
    "frame_index": int,
    "keyframe": bool,
    "keyframe_cause": str,
    "width": int,
    "height": int,
    "tokens": int,
    "token_ratio": float,
    "gaze_ratio": float,
    "psnr": float,
    "measured_loss": float,
}
_PROBLEM_COLUMNS: dict[str, type] = {"topic": str, "index": int, "stamp": int, "cause": str, "text": str}
_TIMING_COLUMNS: dict[str, type] = {"topic": str, "index": int, "compute_ms": float}
_BOX = ("x0", "y0", "x1", "y1")


class RunError(AutogazeError, ValueError):
    """A folder that is no run, or a damaged one; the message names it and what is missing."""


@dataclass(frozen=True)
class Fixations:
    """The fixations of one topic; one row each, those of a frame in the order of choice."""

    #: (N,) int64 index of the frame in its topic
    index: Column
    #: (N,) int32
    tile: Column
    token_id: Column
    scale: Column
    grid: Column
    #: (N, 4) int32 x0, y0, x1, y1 in source pixels, upper bounds exclusive
    boxes: NDArray[np.int32]
    #: (N,) float32, 0..1; and NaN where not predicted
    confidence: Column
    predicted_loss: Column

    @cached_property
    def _places(self) -> dict[int, slice]:
        starts = np.flatnonzero(np.append(True, self.index[1:] != self.index[:-1]))
        ends = np.append(starts[1:], len(self.index))
        values = self.index[starts].tolist() if len(self.index) else []
        return {i: slice(a, b) for i, a, b in zip(values, starts.tolist(), ends.tolist(), strict=False)}

    def of(self, index: int) -> slice:
        """The rows of a frame; an empty slice where it has none."""
        return self._places.get(index, slice(0, 0))


@dataclass(frozen=True)
class RunTables:
    """A run's folder.

    Args:
        folder: that holds summary.json, frames.csv and fixations.parquet; problems.csv and timing.csv may be absent.
        summary: what summary.json says.
        plan: what plan.json says, the path of the input among it; empty where it is not there.
        frames: columns of frames.csv by name; PSNR in dB, inf where identical.
        problems: columns of problems.csv.
        timing: columns of timing.csv.
    """

    folder: Path
    summary: dict[str, Any]
    plan: dict[str, Any]
    frames: dict[str, Column]
    problems: dict[str, Column]
    timing: dict[str, Column]

    @classmethod
    def load(cls, folder: Path) -> RunTables:
        """Read a run, but for its fixations.

        Raises:
            RunError: not a run's folder, or one of its files is damaged.
        """
        folder = Path(folder)
        if not (folder / "frames.csv").is_file():
            raise RunError(f"{folder} is not the folder of a finished replay: it holds no frames.csv")
        return cls(
            folder,
            read_json(folder / "summary.json"),
            read_json(folder / "plan.json") if (folder / "plan.json").is_file() else {},
            _read_csv(folder / "frames.csv", _FRAME_COLUMNS),
            _read_csv(folder / "problems.csv", _PROBLEM_COLUMNS, optional=True),
            _read_csv(folder / "timing.csv", _TIMING_COLUMNS, optional=True),
        )

    @cached_property
    def topics(self) -> list[str]:
        """All topics with a frame or a problem, by name; what is wrong with the whole input belongs to none."""
        return sorted({*self.frames["topic"], *self.problems["topic"]} - {""})

    @property
    def input(self) -> Path | None:
        """The path that was replayed: where it was then, or as it was given; None where it is not known."""
        known = [Path(p) for key in ("path", "input") if isinstance(p := self.plan.get(key), str) and p]
        return next((path for path in known if path.exists()), known[-1] if known else None)

    @property
    def name(self) -> str:
        """What to call the run: its input, or its folder."""
        return (self.input or self.folder).resolve().name

    def of_topic(self, table: dict[str, Column], topic: str) -> dict[str, Column]:
        """The rows of one topic of :attr:`frames`, :attr:`problems` or :attr:`timing`."""
        rows = table["topic"] == topic
        return {name: column[rows] for name, column in table.items()}

    def fixations(self, topic: str) -> Fixations:
        """All fixations of a topic: about 40 bytes each.

        Raises:
            RunError: fixations.parquet is missing or damaged.
        """
        names = ("index", "tile", "token_id", "scale", "grid", *_BOX, "confidence", "predicted_loss")
        kinds = [np.int64, *[np.int32] * 8, np.float32, np.float32]
        parts: list[list[Column]] = [[np.empty(0, kind)] for kind in kinds]
        for batch in self._batches(("topic", *names)):
            mine = pa.compute.equal(batch.column("topic").cast(pa.string()), topic)
            rows = np.flatnonzero(mine.to_numpy(zero_copy_only=False))
            if len(rows):
                for name, kind, part in zip(names, kinds, parts, strict=True):
                    part.append(_numbers(batch.column(name), kind)[rows])
        columns = dict(zip(names, (np.concatenate(part) for part in parts), strict=True))
        boxes = np.stack([columns.pop(name) for name in _BOX], axis=1)
        return Fixations(boxes=boxes, **columns)

    def _batches(self, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        path = self.folder / "fixations.parquet"
        try:
            with pa.parquet.ParquetFile(path) as file:
                yield from file.iter_batches(batch_size=65536, columns=list(columns))
        except (OSError, pa.ArrowException, KeyError) as error:
            raise RunError(f"{path} can't be read: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        RunError: the file is missing, damaged or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise RunError(f"{path} is damaged: it holds no table of names")
    return values


def _numbers(column: pa.Array, kind: type) -> Column:
    if np.issubdtype(kind, np.floating):  # an empty place is a number that is not there
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(kind)
    return column.to_numpy(zero_copy_only=False).astype(kind)


def _read_csv(path: Path, columns: dict[str, type], optional: bool = False) -> dict[str, Column]:
    """Columns of a .csv file as arrays: str as objects, NaN for an empty number, -1 for an empty whole number."""
    if optional and not path.is_file():
        return {name: np.empty(0, object if kind is str else kind) for name, kind in columns.items()}
    text = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in columns}, include_columns=list(columns)
    )
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    try:
        table = pa.csv.read_csv(path, convert_options=text, parse_options=parse)
        return {name: _converted(table.column(name), kind) for name, kind in columns.items()}
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise RunError(f"{path} can't be read: {error}") from error


def _converted(column: pa.ChunkedArray, kind: type) -> Column:
    values = column.to_pylist()
    if kind is str:
        return np.array(values, object)
    if kind is bool:
        return np.array([v.lower() in ("true", "1") for v in values], bool)
    empty = "nan" if kind is float else "-1"
    return np.array([kind(v or empty) for v in values], np.float64 if kind is float else np.int64)
