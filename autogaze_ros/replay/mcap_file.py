"""Reads the messages of one MCAP file, also of one that was cut off or is damaged in places."""

from __future__ import annotations

import heapq
import itertools
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lz4.frame
import zstandard
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.writer import MCAP0_MAGIC

Connection = tuple[str, str]  # topic and message type

_HEAD = struct.Struct("<BQ")  # of every record: what it is, and how many bytes follow
_CHUNK = struct.Struct("<QQQI")  # start and end time, uncompressed size, CRC; then compression, size and data
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time; then data
_MOST = 4 << 30  # no record of a sound file is larger


class _Chunk(NamedTuple):
    start: int  # nanoseconds
    offset: int  # of the record in the file
    length: int  # of the record with its head, as far as it is in the file
    channels: frozenset[int]  # empty: not known


class McapFile:
    """One MCAP file.

    A file with an index is read by it, another one is searched for whole records first. A cut file gives
    all messages that are whole, a damaged chunk is left out; :attr:`damages` says so.

    Args:
        path: of the file.

    Raises:
        OSError: it can't be opened.
        ValueError: it is no MCAP file.
    """

    def __init__(self, path: Path) -> None:
        #: what is wrong with the file, as cause and text; grows while messages are read
        self.damages: list[tuple[str, str]] = []
        #: topic and type by channel
        self.connections: dict[int, Connection] = {}
        #: messages by channel
        self.counts: dict[int, int] = {}
        self._path = path
        self._chunks: list[_Chunk] = []
        self._begin: int | None = None
        self._size = path.stat().st_size
        self._file = path.open("rb")
        if self._file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
            self._file.close()
            raise ValueError("it does not begin as an MCAP file does")
        if not self._read_index():
            self._search()
        self._chunks.sort()

    @property
    def begin(self) -> int | None:
        """Nanoseconds of the first message; None where there is none."""
        if self._begin is not None:
            return self._begin
        return self._chunks[0].start if self._chunks else None

    def messages(self, channels: Collection[int]) -> Iterator[tuple[int, int, memoryview]]:
        """Channel, log time in nanoseconds and data of the messages of some channels, by log time."""
        wanted = frozenset(channels)
        waiting: list[tuple[int, int, int, memoryview]] = []
        numbers = itertools.count()
        for chunk in self._chunks:
            if chunk.channels and not chunk.channels & wanted:
                continue
            while waiting and waiting[0][0] < chunk.start:
                time, _, channel, data = heapq.heappop(waiting)
                yield channel, time, data
            for channel, time, data in self._messages_of(chunk):
                if channel in wanted:
                    heapq.heappush(waiting, (time, next(numbers), channel, data))
        while waiting:
            time, _, channel, data = heapq.heappop(waiting)
            yield channel, time, data

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _read_index(self) -> bool:
        """Take the places of chunks from the file's summary; returns whether there is a whole one."""
        try:
            summary = make_reader(self._file).get_summary()
        except (McapError, struct.error, ValueError, OSError, KeyError):
            return False
        if summary is None or summary.statistics is None:
            return False
        count = summary.statistics.chunk_count
        if len(summary.chunk_indexes) != count or (summary.statistics.message_count and not count):
            return False
        for channel in summary.channels.values():
            schema = summary.schemas.get(channel.schema_id)
            self.connections[channel.id] = (channel.topic, schema.name if schema else "")
        self.counts = dict(summary.statistics.channel_message_counts)
        # Not that of the first chunk, which may be empty and then begins at 0.
        self._begin = summary.statistics.message_start_time or None
        self._chunks = [
            _Chunk(
                c.message_start_time, c.chunk_start_offset, c.chunk_length, frozenset(c.message_index_offsets)
            )
            for c in summary.chunk_indexes
        ]
        return all(c.offset + c.length <= self._size for c in self._chunks)

    def _search(self) -> None:
        """Go through the records from the beginning as far as they are whole."""
        self.connections, self.counts, self._chunks, self._begin = {}, {}, [], None
        schemas: dict[int, str] = {}
        place, ended = len(MCAP0_MAGIC), False
        while not ended and place + _HEAD.size <= self._size:
            self._file.seek(place)
            kind, length = _HEAD.unpack(self._file.read(_HEAD.size))
            whole = min(_HEAD.size + length, self._size - place)
            if length > _MOST or not 0 < kind < 0x80:
                break
            if kind == Opcode.CHUNK or (kind == Opcode.MESSAGE and whole == _HEAD.size + length):
                self._add(_Chunk(0, place, whole, frozenset()), schemas)
            elif kind in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._define(kind, memoryview(self._file.read(whole - _HEAD.size)), schemas)
            # What comes after the data is the summary, which was no good.
            ended = kind == Opcode.DATA_END
            place += _HEAD.size + length
        if not ended:
            self.damages.append(
                ("cut", f"{self._path.name} ends in the middle; it was cut off or its recorder was killed")
            )

    def _add(self, chunk: _Chunk, schemas: dict[int, str]) -> None:
        begin = None
        try:
            for kind, body in self._records(chunk):
                if kind == Opcode.MESSAGE and len(body) >= _MESSAGE.size:
                    channel, _, time, _ = _MESSAGE.unpack_from(body)
                    self.counts[channel] = self.counts.get(channel, 0) + 1
                    begin = time if begin is None else min(begin, time)
                else:
                    self._define(kind, body, schemas)
        except _Damaged as error:
            self.damages.append(("damaged", str(error)))
        if begin is not None:
            self._chunks.append(chunk._replace(start=begin))

    def _define(self, kind: int, body: memoryview, schemas: dict[int, str]) -> None:
        """Take in a schema or a channel."""
        try:
            if kind == Opcode.SCHEMA:
                schemas[int.from_bytes(body[:2], "little")] = _text(body, 2)[0]
            elif kind == Opcode.CHANNEL:
                channel, schema = struct.unpack_from("<HH", body)
                self.connections[channel] = (_text(body, 4)[0], schemas.get(schema, ""))
        except (struct.error, UnicodeDecodeError) as error:
            self.damages.append(("damaged", f"{self._path.name}: a definition can't be read: {error}"))

    def _messages_of(self, chunk: _Chunk) -> Iterator[tuple[int, int, memoryview]]:
        try:
            for kind, body in self._records(chunk):
                if kind == Opcode.MESSAGE and len(body) >= _MESSAGE.size:
                    channel, _, time, _ = _MESSAGE.unpack_from(body)
                    yield channel, time, body[_MESSAGE.size :]
        except _Damaged as error:
            damage = ("damaged", str(error))
            if damage not in self.damages:
                self.damages.append(damage)

    def _records(self, chunk: _Chunk) -> Iterator[tuple[int, memoryview]]:
        """The records of a chunk, or the one record of a message that is in none."""
        self._file.seek(chunk.offset)
        record = memoryview(self._file.read(chunk.length))
        kind, length = _HEAD.unpack_from(record)
        body = record[_HEAD.size :]
        if kind == Opcode.MESSAGE:
            yield kind, body
            return
        try:
            if kind != Opcode.CHUNK:
                raise ValueError("no chunk is where the index says")
            data = _unpacked(body, whole=len(body) == length)
        # zstandard, lz4 and struct raise errors of their own, all about these bytes.
        except Exception as error:
            raise _Damaged(
                f"{self._path.name}: the chunk at byte {chunk.offset} can't be read: {error}"
            ) from error
        place = 0
        while place + _HEAD.size <= len(data):
            kind, length = _HEAD.unpack_from(data, place)
            place += _HEAD.size + length
            if place > len(data):
                return  # the rest of a chunk that was cut off
            yield kind, data[place - length : place]


class _Damaged(ValueError):
    """A chunk that can't be read."""


def _text(body: memoryview, place: int) -> tuple[str, int]:
    """A string with its length before it, and where it ends."""
    (length,) = struct.unpack_from("<I", body, place)
    end = place + 4 + length
    return str(body[place + 4 : end], "utf-8"), end


def _unpacked(body: memoryview, whole: bool) -> memoryview:
    """The records in a chunk; of one that was cut off those before the cut."""
    _, _, size, crc = _CHUNK.unpack_from(body)
    compression, place = _text(body, _CHUNK.size)
    data: Any = body[place + 8 :]
    if not whole:
        if compression == "zstd":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        elif compression == "lz4":
            data = lz4.frame.LZ4FrameDecompressor().decompress(data)
        return memoryview(data)
    data = data[: int.from_bytes(body[place : place + 8], "little")]
    if compression == "zstd":
        data = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    elif compression == "lz4":
        data = lz4.frame.decompress(data)
    elif compression:
        raise ValueError(f"compression {compression!r} is not known")
    if len(data) != size or (crc and zlib.crc32(data) != crc):
        raise ValueError("its checksum is wrong")
    return memoryview(data)
