"""Rows of a SQLite file that SQLite itself no longer finds: read off its pages.

The tree that leads to a table's rows is rebuilt as the table grows, so of a file that was cut off its root
mostly points behind the cut. The pages of rows before it are whole all the same. The layout is that of
https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

_LEAF = 0x0D  # first byte of a page with rows of a table
_WIDTHS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}  # bytes of a whole number by its type in a row


class Message(NamedTuple):
    """A row of rosbag2's table of messages."""

    id: int
    topic: int
    #: nanoseconds
    time: int
    data: bytes


def messages_in_pages(path: Path) -> Iterator[Message]:
    """The messages whose pages are all in a file, in the order of their numbers.

    Raises:
        ValueError: it is no SQLite file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if len(data) < 100 or data[:16] != b"SQLite format 3\0":
            raise ValueError("it does not begin as a SQLite file does")
        pages = _Pages(data)
        last = None
        # Rows of all tables have numbers of their own, and a page that SQLite gave up keeps its rows: of those with
        # one number the latest counts that is a message.
        for number, place in sorted(pages.rows(), key=lambda row: (row[0], -row[1])):
            if number != last and (message := pages.message(place)) is not None:
                yield message
                last = number


class _Pages:
    """The whole pages of a file, numbered from 1."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        (size,) = struct.unpack_from(">H", data, 16)
        self._size = 65536 if size == 1 else max(512, size)
        self._used = self._size - data[20]  # the rest of each page is reserved
        self._count = len(data) // self._size

    def rows(self) -> list[tuple[int, int]]:
        """Number and beginning of each row, of all tables."""
        found = []
        firsts = np.frombuffer(self._data, np.uint8, self._count * self._size)[:: self._size]
        leaves = np.flatnonzero(firsts == _LEAF).tolist()
        del firsts  # it keeps the file mapped
        for page in leaves:
            base = page * self._size
            (cells,) = struct.unpack_from(">H", self._data, base + 3)
            if 8 + 2 * cells > self._used:
                continue
            for (offset,) in struct.iter_unpack(">H", self._data[base + 8 : base + 8 + 2 * cells]):
                if 8 <= offset < self._used - 4:
                    _, place = self._varint(base + offset)
                    number, _ = self._varint(place)
                    found.append((number, base + offset))
        return found

    def message(self, place: int) -> Message | None:
        """The message in a row; None where that is another row, or part of it is missing."""
        length, place = self._varint(place)
        number, place = self._varint(place)
        payload = self._payload(place, length)
        if payload is None:
            return None
        view = memoryview(payload)
        head, at = _varint(view, 0)
        if head > len(view):
            return None
        types: list[int] = []
        while at < head and len(types) <= 4:
            kind, at = _varint(view, at)
            types.append(kind)
        # The number itself stands outside of the row: its column is empty.
        if (
            len(types) != 4
            or types[0]
            or not {types[1], types[2]} <= set(_WIDTHS)
            or types[3] < 12
            or types[3] % 2
        ):
            return None
        values = []
        at = head
        for kind in types[1:3]:
            width = _WIDTHS[kind]
            values.append(int.from_bytes(view[at : at + width], "big", signed=True) if width else kind - 8)
            at += width
        data = payload[at : at + (types[3] - 12) // 2]
        if len(data) != (types[3] - 12) // 2:
            return None
        return Message(number, values[0], values[1], data)

    def _payload(self, place: int, length: int) -> bytes | None:
        """A row's bytes, gathered from its page and those that it runs over to."""
        if length > self._count * self._size:  # more than the file holds
            return None
        most = self._used - 35
        local = length
        if length > most:
            least = (self._used - 12) * 32 // 255 - 23
            local = least + (length - least) % (self._used - 4)
            local = local if local <= most else least
        if place % self._size + local > self._used:
            return None
        parts = [self._data[place : place + local]]
        left = length - local
        if left:
            (page,) = struct.unpack_from(">I", self._data, place + local)
        while left > 0:
            if not 0 < page <= self._count:
                return None
            base = (page - 1) * self._size
            (page,) = struct.unpack_from(">I", self._data, base)
            parts.append(self._data[base + 4 : base + 4 + min(left, self._used - 4)])
            left -= len(parts[-1])
        return b"".join(parts)

    def _varint(self, place: int) -> tuple[int, int]:
        head = memoryview(self._data[place : place + 9])
        value, used = _varint(head, 0)
        return value, place + used


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends; 0 where the data ends before it."""
    value = 0
    for count, byte in enumerate(data[place : place + 9]):
        if count == 8:
            return value << 8 | byte, place + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + count + 1
    return 0, place + 9
