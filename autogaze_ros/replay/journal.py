"""What a running replay has done so far, kept on disk so that a killed one can go on.

A journal is a folder of segments. Each is a finished MCAP file, which any tool opens, with a JSON file of its
rows and the state that follows it. The JSON file comes last and by renaming, so a segment counts once it is
there; whatever is newer is from an interrupted write and is overwritten.
"""

from __future__ import annotations

import io
import json
import pickle
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .mcap_file import McapFile
from .mcap_writer import McapWriter
from .reader import Problem

#: Of what is kept to go on from; raised with every change after which an older run ends in other bytes, or not at all.
FORMAT = 1


@dataclass
class Entry:
    """What came of one image."""

    #: of the image on its topic
    index: int
    log_time: int
    problems: list[Problem] = field(default_factory=list)
    #: the frame's line in the tables; None where the image could not be used
    row: dict[str, Any] | None = None
    #: topic, type and serialized data
    messages: list[tuple[str, str, bytes]] = field(default_factory=list)


class Journal:
    """The journal of one topic.

    Args:
        folder: made where it is not there; segments in it are kept.
        frames: images in a segment, at most.
        seconds: between two segments, at most.
    """

    def __init__(self, folder: Path, frames: int = 1000, seconds: float = 10.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._limits = frames, seconds
        self._count = 0
        while self._path("json").exists():
            self._count += 1
        #: the next image to read
        self.next = 0
        self._last: dict[str, Any] = {}
        if self._count:
            self._last = json.loads(self._path("json", self._count - 1).read_text())
            self.next = self._last["next"]
        self._rows: list[dict[str, Any]] = []
        self._problems: list[dict[str, Any]] = []
        self._writer: McapWriter | None = None
        self._added = 0
        self._begun = 0.0

    @property
    def end(self) -> dict[str, Any] | None:
        """What :meth:`finish` was given; None where the work is not finished."""
        return self._last.get("end")

    @property
    def checks(self) -> dict[str, Any]:
        """What the last segment's commit was given."""
        return self._last.get("checks", {})

    def state(self) -> Any:
        """The object that the last commit was given; None where there was none, or it can't be read."""
        path = self._path("state", self._count - 1)
        if not self._count or not path.exists():
            return None
        try:
            return _Unpickler(io.BytesIO(path.read_bytes())).load()
        except (pickle.UnpicklingError, AttributeError, ImportError, EOFError, TypeError):
            return None

    def add(self, entry: Entry) -> bool:
        """Take in what came of an image; returns whether it is time to commit."""
        if self._writer is None:
            self._begun, self._added = time.monotonic(), 0
            self._writer = McapWriter(self._path("mcap"))
        for topic, kind, data in entry.messages:
            self._writer.write(topic, kind, data, entry.log_time)
        if entry.row is not None:
            self._rows.append(entry.row | {"log_time": entry.log_time})
        self._problems += [asdict(problem) for problem in entry.problems]
        self.next = entry.index + 1
        self._added += 1
        frames, seconds = self._limits
        return self._added >= frames or time.monotonic() - self._begun >= seconds

    def commit(self, checks: dict[str, Any], state: Any = None, end: dict[str, Any] | None = None) -> None:
        """Make what was added a segment.

        Args:
            checks: small things to go on with, as JSON.
            state: an object to go on with; None where it can't be kept.
            end: what to keep of a work that is finished.
        """
        (self._writer or McapWriter(self._path("mcap"))).close()
        self._writer = None
        if state is not None:
            self._path("state").write_bytes(pickle.dumps(state, 5))
        self._last = {
            "next": self.next,
            "checks": checks,
            "rows": self._rows,
            "problems": self._problems,
            "end": end,
        }
        self._replace(self._path("json"), json.dumps(self._last))
        if self._count:
            self._path("state", self._count - 1).unlink(missing_ok=True)
        self._count += 1
        self._rows, self._problems = [], []
        self._last |= {"rows": [], "problems": []}

    def finish(self, checks: dict[str, Any], end: dict[str, Any]) -> None:
        """Commit the rest and mark the work as finished."""
        self.commit(checks, None, end)
        self._path("state", self._count - 1).unlink(missing_ok=True)

    def segments(self) -> Iterator[tuple[list[dict[str, Any]], list[Problem]]]:
        """Rows and problems of each segment, in order."""
        for number in range(self._count):
            segment = json.loads(self._path("json", number).read_text())
            yield segment["rows"], [Problem(**problem) for problem in segment["problems"]]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of all frames, in order."""
        for rows, _ in self.segments():
            yield from rows

    def messages(self) -> Iterator[tuple[int, str, str, memoryview]]:
        """Log time, topic, type and data of all messages, in order."""
        for number in range(self._count):
            segment = McapFile(self._path("mcap", number))
            try:
                for channel, stamp, data in segment.messages(segment.connections):
                    yield stamp, *segment.connections[channel], data
            finally:
                segment.close()

    def _path(self, suffix: str, number: int | None = None) -> Path:
        return self.folder / f"{self._count if number is None else number:06}.{suffix}"

    @staticmethod
    def _replace(path: Path, text: str) -> None:
        """Write a file so that it is there as a whole or not at all."""
        draft = path.with_name(path.name + ".draft")
        draft.write_text(text)
        draft.replace(path)


class _Unpickler(pickle.Unpickler):
    """Makes nothing but what a state consists of, whatever a file in the folder may ask for."""

    KNOWN = frozenset(
        (
            ("autogaze_ros.gaze.receiver", "TokenReceiver"),
            ("autogaze_ros.gaze.receiver", "_CellFilter"),
            ("autogaze_ros.gaze.sources.greedy", "GreedySource"),
            ("autogaze_ros.gaze.sources.patch_diff", "PatchDiffSource"),
            ("autogaze_ros.gaze.tiling", "Tiling"),
            ("autogaze_ros.gaze.tokens", "TokenLayout"),
            ("autogaze_ros.pipeline", "Pipeline"),
            ("autogaze_ros.render.reconstruction", "Reconstruction"),
            ("autogaze_ros.render.renderer", "Renderer"),
            ("autogaze_ros.render.renderer", "Wanted"),
            ("autogaze_ros.replay.gazer", "Checks"),
            ("autogaze_ros.replay.gazer", "Gazer"),
            ("autogaze_ros.settings", "Settings"),
            ("collections", "Counter"),
            ("collections", "deque"),
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            # Where NumPy 2 and NumPy 1 keep what makes arrays and scalars.
            *(
                (f"numpy.{core}.{place}", name)
                for core in ("_core", "core")
                for place, name in (
                    ("numeric", "_frombuffer"),
                    ("multiarray", "_reconstruct"),
                    ("multiarray", "scalar"),
                )
            ),
        )
    )

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of a name."""
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a state")
        return super().find_class(module, name)
