"""Reads the messages of one SQLite file of rosbag2, also of one that was cut off or is damaged in places."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

from .mcap_file import Connection
from .sqlite_pages import messages_in_pages


class SqliteFile:
    """One .db3 file.

    A sound file is read by log time. Of a file with less pages than it should have, or once a page turns out
    to be damaged, those rows are read that are whole, by their number, which is the order of recording;
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
        if self._cut:
            return next((message.time for message in messages_in_pages(self._path)), None)
        try:
            row = self._base.execute("SELECT MIN(timestamp) FROM messages").fetchone()
        except sqlite3.DatabaseError as error:
            self._damaged(error)
            return None
        return row[0]

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
        for message in messages_in_pages(self._path):
            if message.id > last and message.topic in topics:
                yield message.topic, message.time, memoryview(message.data)

    def close(self) -> None:
        """Let the file go."""
        self._base.close()

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
