"""The picture of a comparison: IoU and PSNR difference over time, and the masks of the worst frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .compare import Comparison, TopicComparison
from .reporting.pictures import overlay, read_frame
from .reporting.series import decimate, time_axis
from .run_tables import RunTables

#: Topics that the picture shows; those that differ come first.
TOPICS = 4
_FINE = 2  # drawn so many times larger, as Pillow's lines have no smooth edges
_WIDTH, _CHART, _BLOCK, _HEAD = 1500, 830, 430, 64
_INK, _SOFT, _GRID, _LINE, _BAD = (22, 25, 29), (82, 90, 101), (226, 229, 234), (11, 92, 173), (179, 38, 30)

Picture = NDArray[np.uint8]


def write_picture(comparison: Comparison, path: Path) -> None:
    """Write the picture as PNG, 1500 pixels wide.

    The masks lie over the image where the first run's input can still be read, else over grey.

    Raises:
        RunError: the tables of a run are damaged.
        OSError: the file can't be written.
    """
    topics = sorted(comparison.topics, key=lambda topic: topic.equal)[:TOPICS]
    sheet = _Sheet(_WIDTH, _HEAD + _BLOCK * max(len(topics), 1))
    verdict = "equal" if comparison.equal else "different"
    sheet.text(24, 16, f"A: {comparison.a.resolve().name}    B: {comparison.b.resolve().name}", 20)
    sheet.text(_WIDTH - 24, 18, verdict, 18, _INK if comparison.equal else _BAD, "ra")
    if len(topics) < len(comparison.topics):
        sheet.text(24, 44, f"{len(topics)} of {len(comparison.topics)} topics", 13, _SOFT)
    masks = []
    runs = RunTables.load(comparison.a), RunTables.load(comparison.b)
    for number, topic in enumerate(topics):
        top = _HEAD + number * _BLOCK
        sheet.text(24, top + 2, topic.topic, 17)
        _charts(sheet, topic, top + 34)
        masks += _masks(sheet, topic, runs, top + 34)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = sheet.finished()
    for x, y, mask in masks:  # at their own size: drawn fine already
        picture.paste(Image.fromarray(mask), (x, y))
    picture.save(path, optimize=True)


class _Sheet:
    """A white sheet; places are in pixels of the finished picture."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width * _FINE, height * _FINE), (255, 255, 255))
        self._draw = ImageDraw.Draw(self._image)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int,
        colour: tuple[int, int, int] = _INK,
        anchor: str = "la",
    ) -> None:
        """Write a line; the anchor is one of Pillow's."""
        self._draw.text((x * _FINE, y * _FINE), text, colour, ImageFont.load_default(size * _FINE), anchor)

    def line(self, points: list[tuple[float, float]], colour: tuple[int, int, int], width: float = 1) -> None:
        """Draw through points."""
        places = [(x * _FINE, y * _FINE) for x, y in points]
        self._draw.line(places, colour, max(1, round(width * _FINE)))

    def dot(self, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        """Draw a dot."""
        r = radius * _FINE
        self._draw.ellipse((x * _FINE - r, y * _FINE - r, x * _FINE + r, y * _FINE + r), colour)

    def finished(self) -> Image.Image:
        """The picture at its size."""
        size = self._image.width // _FINE, self._image.height // _FINE
        return self._image.resize(size, Image.Resampling.LANCZOS)


def _charts(sheet: _Sheet, topic: TopicComparison, top: int) -> None:
    if not topic.frames:
        sheet.text(64 + (_CHART - 64) / 2, top + 150, "no frame is in both runs", 14, _SOFT, "mm")
        return
    stamps = np.array([f.stamp for f in topic.frames], np.int64)
    axis = time_axis(stamps, np.array([f.index_a for f in topic.frames], np.int64))
    iou = np.array([f.iou for f in topic.frames])
    difference = np.array([f.psnr_difference for f in topic.frames])
    _chart(sheet, top, "IoU of the masks", axis.values, iou, (0.0, 1.0))
    most = float(np.abs(difference[np.isfinite(difference)]).max(initial=0.0))
    reach = _nice(most) if most else 1.0
    _chart(sheet, top + 180, "PSNR of B less that of A (dB)", axis.values, difference, (-reach, reach))
    sheet.text(64 + (_CHART - 64) / 2, top + 354, axis.title, 13, _SOFT, "ma")
    infinite = int(np.isinf(difference).sum())
    if infinite:
        sheet.text(_CHART, top + 180, f"infinite in {infinite} frames, at the edge", 13, _SOFT, "ra")


def _chart(
    sheet: _Sheet,
    top: int,
    title: str,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    limits: tuple[float, float],
) -> None:
    """One panel of 150 pixels' height: its frame of reference, and the values between the limits."""
    left, right, upper, lower = 64, _CHART, top + 22, top + 150
    low, high = limits
    sheet.text(left, top, title, 14)

    def place(value: float) -> float:
        return lower - (value - low) / (high - low) * (lower - upper)

    for tick in np.linspace(low, high, 5).tolist():
        sheet.line([(left, place(tick)), (right, place(tick))], _GRID)
        sheet.text(left - 8, place(tick), f"{tick:+g}" if low < 0 and tick else f"{tick:g}", 12, _SOFT, "rm")
    first, last = float(x.min()), float(x.max())
    across = (x - first) / max(last - first, 1e-9) * (right - left) + left
    step = _nice(max(last - first, 1e-9) / 6)
    for tick in np.arange(np.ceil(first / step), np.floor(last / step) + 1).tolist():
        at = left + (tick * step - first) / max(last - first, 1e-9) * (right - left)
        sheet.text(at, lower + 6, f"{tick * step:.6g}", 12, _SOFT, "ma")
    known = ~np.isnan(y)
    inside = np.clip(y[known], low, high)
    kept = decimate(inside, 1600)
    points = [(float(a), place(float(b))) for a, b in zip(across[known][kept], inside[kept], strict=True)]
    sheet.line(points, _LINE, 1.2)
    for where in np.flatnonzero(np.isinf(y)).tolist():
        sheet.dot(float(across[where]), place(low if y[where] < 0 else high), 2.5, _BAD)
    if len(points) == 1:
        sheet.dot(*points[0], 2.5, _LINE)


def _masks(
    sheet: _Sheet, topic: TopicComparison, runs: tuple[RunTables, RunTables], top: int
) -> list[tuple[int, int, Picture]]:
    """The masks of the worst frame, of A over B, with where to put them."""
    left, worst = _CHART + 36, topic.worst
    if worst is None:
        missing = bool(topic.only_a or topic.only_b)
        text = "no frame in both runs differs" if missing else "all frames are equal"
        sheet.text(left, top + 60, text, 15, _SOFT)
        return []
    sheet.text(left, top, f"worst frame: {worst.index_a}, IoU {worst.iou:.3f}", 14)
    wide = (_WIDTH - 24 - left - 16) // 2
    below = read_frame(runs[0], topic.topic, worst.index_a, worst.stamp)
    found = []
    for number, (run, index, name) in enumerate(zip(runs, (worst.index_a, worst.index_b), "AB", strict=True)):
        frames = run.of_topic(run.frames, topic.topic)
        row = int(np.flatnonzero(frames["index"] == index)[0])
        width, height = int(frames["width"][row]), int(frames["height"][row])
        tall = max(1, min(300, round(wide * height / width)))
        size = min(wide, max(1, round(tall * width / height))), tall
        if below is None:
            base = np.full((tall, size[0], 3), 200, np.uint8)
        else:
            base = np.asarray(Image.fromarray(below).resize(size, Image.Resampling.BOX))
        gaze = run.fixations(topic.topic)
        rows = gaze.of(index)
        x = left + number * (wide + 16)
        found.append((x, top + 46, overlay(base, gaze.boxes[rows], gaze.scale[rows], width, height)))
        quality = f"{worst.psnr[number]:.1f} dB"
        count = worst.tokens[number]
        sheet.text(x, top + 24, f"{name}: {count} token{'' if count == 1 else 's'}, {quality}", 13, _SOFT)
    return found


def _nice(value: float) -> float:
    """The next of 1, 2 and 5 times a power of ten at or above a value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999999))
