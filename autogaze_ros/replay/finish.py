"""From the journals of an input's topics to the files of its run folder."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import cdr, tables
from .journal import Journal
from .mcap_writer import McapWriter, type_store
from .reader import Problem
from .video import VideoWriter

#: What a run folder holds, without the pictures of several topics.
RUN_FILES = (
    "gaze.mcap", "fixations.parquet", "fixations.csv", "frames.csv", "problems.csv", "timing.csv", "summary.json",
    "overlay.mp4", "report.html",
)  # fmt: skip


def write_files(
    folder: Path, journals: dict[str, Journal], found: list[Problem], overlay: bool, video: bool
) -> list[Problem]:
    """Write the bag, the tables and the video of a run.

    The bytes depend on what the journals hold, and not on where one segment ends and the next begins.

    Args:
        folder: of the run.
        journals: of its topics, by name.
        found: what was wrong with the input when it was opened.
        overlay: whether the overlays belong into the bag.
        video: write overlay.mp4, with a topic's name in it where there are several.

    Returns:
        All problems: of the input first, then topic by topic.
    """
    _write_bag(folder / "gaze.mcap", journals, overlay)
    tables.write_fixations(folder, journals)
    tables.write_frames(folder, journals)
    problems = list(_problems(journals, found))
    tables.write_problems(folder, problems)
    if video:
        # Two topics may be the same in a file's name: /a/b and /a_b.
        names = distinct(slug(topic) for topic in journals) if len(journals) > 1 else [""]
        for name, journal in zip(names, journals.values(), strict=True):
            _write_video(folder / (f"overlay_{name}.mp4" if name else "overlay.mp4"), journal)
    return problems


def slug(topic: str) -> str:
    """A topic's name as part of a file's: /camera/image_raw is camera_image_raw."""
    return topic.strip("/").replace("/", "_") or "topic"


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with a number after those that are there already."""
    found: list[str] = []
    for name in names:
        own, number = name, 1
        while own in found:
            number += 1
            own = f"{name}_{number}"
        found.append(own)
    return found


def _write_bag(path: Path, journals: dict[str, Journal], overlay: bool) -> None:
    """All messages by the time at which their images were recorded."""
    # Of equal times the earlier topic's come first.
    streams = [journal.messages() for journal in journals.values()]
    with McapWriter(path) as writer:
        for stamp, topic, kind, data in heapq.merge(*streams, key=lambda item: item[0]):
            if overlay or not topic.endswith("/gaze/overlay/compressed"):
                writer.write(topic, kind, data, stamp)


def _problems(journals: dict[str, Journal], found: list[Problem]) -> Iterator[Problem]:
    ends = [journal.end or {} for journal in journals.values()]
    own = {*found, *(Problem(**problem) for end in ends for problem in end.get("problems", []))}
    yield from sorted(own, key=lambda problem: (problem.cause, problem.text))
    for journal in journals.values():
        for _, problems in journal.segments():
            yield from problems


def _write_video(path: Path, journal: Journal) -> None:
    """The overlays of a topic at their mean rate."""
    stamps = [row["log_time"] for row in journal.rows()]
    span = (stamps[-1] - stamps[0]) / 1e9 if stamps else 0.0
    rate = min(240.0, max(1.0, (len(stamps) - 1) / span)) if span > 0 else 30.0
    with VideoWriter(path, rate) as writer:
        for picture in overlays(journal.messages()):
            writer.write(picture)


def overlays(messages: Iterator[tuple[int, str, str, memoryview]]) -> Iterator[Any]:
    """The overlays among messages, decoded to (H, W, 3) or (H, W, 4) BGR."""
    for _, topic, kind, data in messages:
        if kind == cdr.COMPRESSED and topic.endswith("/overlay/compressed"):
            encoded = type_store().deserialize_cdr(data, kind).data
            yield cv2.imdecode(np.asarray(encoded), cv2.IMREAD_UNCHANGED)


def written(folder: Path) -> list[Path]:
    """The files of a run in a folder, those of an earlier one among them; not all need be there."""
    return [*(folder / name for name in RUN_FILES), *folder.glob("overlay_*.mp4")]


def remove(folder: Path, segments: str) -> None:
    """Delete what an earlier run left in a folder, and nothing else."""
    for file in written(folder):
        file.unlink(missing_ok=True)
    remove_segments(folder / segments)


def remove_segments(folder: Path) -> None:
    """Delete a folder of journals."""
    if not folder.is_dir():
        return
    for journal in folder.iterdir():
        if journal.is_dir():
            for file in journal.iterdir():
                file.unlink()
            journal.rmdir()
        else:
            journal.unlink()
    folder.rmdir()
