"""Compares two runs frame by frame: masks to the pixel, tokens and PSNR."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gaze.masks import cover
from .run_tables import Column, Fixations, RunError, RunTables

__all__ = [
    "Comparison",
    "FrameDifference",
    "RunError",
    "TopicComparison",
    "compare_runs",
    "mask_iou",
]


@dataclass(frozen=True)
class FrameDifference:
    """A frame that both runs have.

    Args:
        index_a: its index in the first run, and in the second.
        index_b: as that.
        stamp: nanoseconds, of the first run.
        differs: in what: "size", "tokens" (other cells), "order" (the same cells in another order), "confidence",
            "psnr", "keyframe"; empty where in nothing.
        iou: pixels in both masks / pixels in either, 0..1; 1 where both are empty, NaN where the sizes differ.
        tokens: of the first run and of the second.
        psnr: dB, of the first run and of the second; inf where identical to the image.
    """

    index_a: int
    index_b: int
    stamp: int
    differs: tuple[str, ...]
    iou: float
    tokens: tuple[int, int]
    psnr: tuple[float, float]

    @property
    def psnr_difference(self) -> float:
        """dB, second less first; 0 where they are the same, infinite ones too."""
        a, b = self.psnr
        return 0.0 if a == b or (math.isnan(a) and math.isnan(b)) else b - a


@dataclass(frozen=True)
class TopicComparison:
    """One topic in both runs.

    Args:
        topic: its name.
        frames: that both have, in the order of the first run.
        only_a: index and stamp of the frames that only the first run has, and the second.
        only_b: as that.
        matched_by: "stamp" or "index".
    """

    topic: str
    frames: list[FrameDifference]
    only_a: list[tuple[int, int]]
    only_b: list[tuple[int, int]]
    matched_by: str

    @property
    def first(self) -> FrameDifference | None:
        """The first frame that differs."""
        return next((frame for frame in self.frames if frame.differs), None)

    @property
    def worst(self) -> FrameDifference | None:
        """The frame with the lowest IoU; among equal ones the one whose PSNR differs most. None where none differs."""
        differing = [frame for frame in self.frames if frame.differs]
        return min(
            differing,
            key=lambda f: (-1.0 if math.isnan(f.iou) else f.iou, -abs(f.psnr_difference)),
            default=None,
        )

    @property
    def equal(self) -> bool:
        """Both have the same frames, and none differs."""
        return not self.only_a and not self.only_b and self.first is None

    def figures(self) -> dict[str, Any]:
        """Counts and means; dB and tokens a frame of the frames that both have, None where there is none."""
        iou = np.array([f.iou for f in self.frames])
        pairs = np.array([f.psnr for f in self.frames]).reshape(-1, 2)
        # Infinite ones and unknown ones have no mean; they are counted instead.
        finite = np.isfinite(pairs).all(axis=1)
        tokens = np.array([f.tokens for f in self.frames]).reshape(-1, 2)
        return {
            "frames in both": len(self.frames),
            "frames that differ": sum(bool(f.differs) for f in self.frames),
            "differences": dict(sorted(Counter(kind for f in self.frames for kind in f.differs).items())),
            "frames only in A": len(self.only_a),
            "frames only in B": len(self.only_b),
            "iou mean": _mean(iou),
            "iou min": _mean(np.array([np.nanmin(iou)])) if np.isfinite(iou).any() else None,
            "tokens a frame A": _mean(tokens[:, 0]),
            "tokens a frame B": _mean(tokens[:, 1]),
            "psnr mean A": _mean(pairs[finite, 0]),
            "psnr mean B": _mean(pairs[finite, 1]),
            "psnr difference mean": _mean(pairs[finite, 1] - pairs[finite, 0]),
            "psnr difference largest": _largest(pairs[finite, 1] - pairs[finite, 0]),
            "frames without two finite psnr": int((~finite).sum()),
        }


@dataclass(frozen=True)
class Comparison:
    """Two runs.

    Args:
        a: folder of the first, and of the second.
        b: as that.
        topics: that any of them has, by name.
        tolerance: the largest difference in PSNR, confidence and predicted loss that counts as none.
    """

    a: Path
    b: Path
    topics: list[TopicComparison]
    tolerance: float

    @property
    def equal(self) -> bool:
        """No frame differs and none is missing."""
        return all(topic.equal for topic in self.topics)


def compare_runs(run_a: Path, run_b: Path, tolerance: float = 0.0) -> Comparison:
    """Compare two runs of the same input.

    Frames are matched by topic and stamp, the n-th with a stamp to the n-th; by index where no stamp of a topic is
    in both runs.

    Args:
        run_a: folder of a run.
        run_b: folder of another.
        tolerance: the largest difference in PSNR (dB), confidence and predicted loss that counts as none, 0 or more.

    Raises:
        RunError: a folder is no run's, its tables are damaged, or the runs have no topic in common.
    """
    if not tolerance >= 0:
        raise RunError(f"a tolerance is 0 or more, got {tolerance}")
    a, b = RunTables.load(Path(run_a)), RunTables.load(Path(run_b))
    if a.topics and b.topics and not set(a.topics) & set(b.topics):
        raise RunError(
            f"no topic is in both runs: {', '.join(a.topics)} in {a.folder}; {', '.join(b.topics)} in {b.folder}"
        )
    topics = sorted({*a.topics, *b.topics})
    return Comparison(a.folder, b.folder, [_compare(a, b, topic, tolerance) for topic in topics], tolerance)


def mask_iou(boxes_a: NDArray[np.int32], boxes_b: NDArray[np.int32], width: int, height: int) -> float:
    """Pixels under both sets of boxes / pixels under either, exact; 1 where there are none.

    Args:
        boxes_a: (N, 4) x0, y0, x1, y1, upper bounds exclusive.
        boxes_b: (M, 4).
        width: of the image.
        height: of the image.

    Raises:
        ValueError: a box that is empty or reaches out of the image.
    """
    if np.array_equal(boxes_a, boxes_b):
        return 1.0
    both = np.concatenate([boxes_a, boxes_b])
    coverage = cover(both, width, height)
    area = np.diff(coverage.y_edges).astype(np.int64)[:, None] * np.diff(coverage.x_edges)
    masks = np.zeros((2, *area.shape), bool)
    for number, (x0, y0, x1, y1) in enumerate(coverage.spans.tolist()):
        masks[int(number >= len(boxes_a)), y0:y1, x0:x1] = True
    union = int(area[masks[0] | masks[1]].sum())
    return int(area[masks[0] & masks[1]].sum()) / union if union else 1.0


def _compare(a: RunTables, b: RunTables, topic: str, tolerance: float) -> TopicComparison:
    frames_a, frames_b = a.of_topic(a.frames, topic), b.of_topic(b.frames, topic)
    gaze_a, gaze_b = a.fixations(topic), b.fixations(topic)
    keys_a, keys_b, matched_by = _keys(frames_a["stamp"]), _keys(frames_b["stamp"]), "stamp"
    if frames_a["stamp"].size and frames_b["stamp"].size and not set(keys_a) & set(keys_b):
        keys_a, keys_b = _keys(frames_a["index"]), _keys(frames_b["index"])
        matched_by = "index"
    rows_b = {key: row for row, key in enumerate(keys_b)}
    found, only_a = [], []
    for row, key in enumerate(keys_a):
        other = rows_b.pop(key, None)
        if other is None:
            only_a.append(_place(frames_a, row))
        else:
            found.append(_frame(frames_a, row, gaze_a, frames_b, other, gaze_b, tolerance))
    return TopicComparison(
        topic, found, only_a, [_place(frames_b, row) for row in rows_b.values()], matched_by
    )


def _keys(values: Column) -> list[tuple[int, int]]:
    """Each value with how often it came before, as stamps may come twice."""
    seen: Counter[int] = Counter()
    keys = []
    for value in values.tolist():
        keys.append((value, seen[value]))
        seen[value] += 1
    return keys


def _place(frames: dict[str, Column], row: int) -> tuple[int, int]:
    return int(frames["index"][row]), int(frames["stamp"][row])


def _frame(
    a: dict[str, Column],
    row_a: int,
    gaze_a: Fixations,
    b: dict[str, Column],
    row_b: int,
    gaze_b: Fixations,
    tolerance: float,
) -> FrameDifference:
    index, other = int(a["index"][row_a]), int(b["index"][row_b])
    here, there = gaze_a.of(index), gaze_b.of(other)
    width, height = int(a["width"][row_a]), int(a["height"][row_a])
    boxes_a, boxes_b = gaze_a.boxes[here], gaze_b.boxes[there]
    differs = []
    iou = math.nan
    if (width, height) == (b["width"][row_b], b["height"][row_b]):
        iou = mask_iou(boxes_a, boxes_b, width, height)
    else:
        differs.append("size")
    cells_a, cells_b = _cells(gaze_a, here), _cells(gaze_b, there)
    if not np.array_equal(cells_a, cells_b):
        same = np.array_equal(cells_a[np.lexsort(cells_a.T)], cells_b[np.lexsort(cells_b.T)])
        differs.append("order" if same else "tokens")
    elif not all(
        _close(getattr(gaze_a, name)[here], getattr(gaze_b, name)[there], tolerance)
        for name in ("confidence", "predicted_loss")
    ):
        differs.append("confidence")
    psnr = float(a["psnr"][row_a]), float(b["psnr"][row_b])
    if not _close(np.array(psnr[:1]), np.array(psnr[1:]), tolerance):
        differs.append("psnr")
    if any(a[name][row_a] != b[name][row_b] for name in ("keyframe", "keyframe_cause")):
        differs.append("keyframe")
    tokens = int(a["tokens"][row_a]), int(b["tokens"][row_b])
    return FrameDifference(index, other, int(a["stamp"][row_a]), tuple(differs), iou, tokens, psnr)


def _cells(gaze: Fixations, rows: slice) -> NDArray[np.int32]:
    """(N, 7): what tells one fixation from another."""
    return np.column_stack([gaze.tile[rows], gaze.token_id[rows], gaze.scale[rows], gaze.boxes[rows]])


def _close(a: Column, b: Column, tolerance: float) -> bool:
    # The common case first: comparing costs a hundredth of computing differences.
    if np.array_equal(a, b):
        return True
    return bool(np.allclose(a.astype(float), b.astype(float), rtol=0, atol=tolerance, equal_nan=True))


def _mean(values: Column) -> float | None:
    known = values[~np.isnan(values.astype(float))]
    return round(float(known.mean()), 6) if len(known) else None


def _largest(values: Column) -> float | None:
    return round(float(values[np.argmax(np.abs(values))]), 6) if len(values) else None
