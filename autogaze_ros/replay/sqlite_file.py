"""Reads the messages of one SQLite file of rosbag2, also of one that was cut off or is damaged in places."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

from .mcap_file import Connection

#: Rows in a row that can't be read before the rest is given up.
_PATIENCE = 1000


class SqliteFile:
    """One .db3 file.

    A sound file is read by log time. In a file with less pages than it should have, or once a page turns out
    to be damaged, rows are read by their number, which is the order of recording, as far as there are any;
    :attr:`damages` says so.

    Args:
        path: of the file.

    Raises:
        OSError: it can't be opened.
        ValueError: it is no recording.
    """

    def __init__(self, path: Path) -> None:
        #: what is wrong with the file, as cause and text; grows while messages are read
        self.damages: list[tuple[str, str]] = []
        #: topic and type by the topic's number
        self.connections: dict[int, Connection] = {}
        #: messages by the topic's number, as far as they could be counted
        self.counts: dict[int, int] = {}
        self._path = path
        self._cut = _is_cut(path)
        # A recorder that was killed leaves its last pages in a log beside the file, which a plain connection
        # takes in; otherwise nothing is written, not even where the folder allows it.
        log = path.with_name(path.name + "-wal")
        mode = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
        self._base = sqlite3.connect(
            f"file:{quote(str(path.resolve()))}?{mode}", uri=True, check_same_thread=False
        )
        try:
            if self._cut:
                # The one way to make SQLite open a file that is shorter than its header says.
                self._base.execute("PRAGMA writable_schema=ON")
                self.damages.append(
                    ("cut", f"{path.name} ends in the middle; it was cut off or not copied to its end")
                )
            for number, name, kind in self._base.execute("SELECT id, name, type FROM topics ORDER BY id"):
                self.connections[number] = (name, kind)
            if not self._cut:
                self.counts = dict(
                    self._base.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id")
                )
        except sqlite3.DatabaseError as error:
            if not self.connections:
                self._base.close()
                raise ValueError(f"it is no rosbag2 SQLite file: {error}") from error
            self._damaged(error)

    @property
    def begin(self) -> int | None:
        """Nanoseconds of the first message; None where there is none."""
        try:
            order = "id" if self._cut else "timestamp"
            row = self._base.execute(f"SELECT timestamp FROM messages ORDER BY {order} LIMIT 1").fetchone()
        except sqlite3.DatabaseError as error:
            self._damaged(error)
            return None
        return int(row[0]) if row else None

    def messages(self, topics: Collection[int]) -> Iterator[tuple[int, int, memoryview]]:
        """Topic's number, log time in nanoseconds and data of the messages of some topics, by log time."""
        last = 0
        if not self._cut:
            numbers = ",".join(str(int(number)) for number in topics)
            query = (
                "SELECT id, topic_id, timestamp, data FROM messages "
                f"WHERE topic_id IN ({numbers}) ORDER BY timestamp, id"
            )
            try:
                for row, topic, time, data in self._base.execute(query):
                    yield topic, time, memoryview(data)
                    last = row
                return
            except sqlite3.DatabaseError as error:
                self._damaged(error)
        yield from self._salvage(frozenset(topics), last)

    def close(self) -> None:
        """Let the file go."""
        self._base.close()

    def _salvage(self, topics: frozenset[int], last: int) -> Iterator[tuple[int, int, memoryview]]:
        """Rows after number ``last`` by their number, those left out that can't be read."""
        query = "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ? ORDER BY id"
        failures = 0
        before: tuple[int, int, bytes] | None = None
        while failures < _PATIENCE:
            try:
                for row, topic, time, data in self._base.execute(query, (last + failures,)):
                    last, failures = row, 0
                    if before is not None and before[0] in topics:
                        yield before[0], before[1], memoryview(before[2])
                    before = topic, time, data
                break
            except sqlite3.DatabaseError as error:
                failures += 1
                self._damaged(error)
        # Of a page that is there in part SQLite reads the rest as zeros, so the last row can't be trusted.
        if before is not None and before[0] in topics and not self._cut:
            yield before[0], before[1], memoryview(before[2])

    def _damaged(self, error: Exception) -> None:
        damage = ("damaged", f"{self._path.name} can't be read in places: {error}")
        if damage not in self.damages and not self._cut:
            self.damages.append(damage)


def _is_cut(path: Path) -> bool:
    """Whether a SQLite file has fewer bytes than its header says."""
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100 or not head.startswith(b"SQLite format 3\0"):
        raise ValueError("it does not begin as a SQLite file does")
    (page,) = struct.unpack_from(">H", head, 16)
    (pages,) = struct.unpack_from(">I", head, 28)
    return int(pages) * (65536 if page == 1 else page) > path.stat().st_size
