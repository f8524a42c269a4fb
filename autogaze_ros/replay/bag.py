"""rosbag2 recordings as inputs: folders and single files, of either storage, whole or not."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml
import zstandard

from ..images import ImageError, frame_from_compressed, frame_from_image, stamp_of
from .clips import ClipError
from .mcap_file import McapFile
from .mcap_writer import type_store
from .reader import BAG_SUFFIXES, Input, Loaded, Problem, Topic
from .sqlite_file import SqliteFile

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # what compressed data begins with, and CDR never does


class PackedFile:
    """A storage file in a compressed one.

    It is unpacked to learn its topics and again each time it is read, and deleted right after: a long recording of
    many files would not fit where temporary files go.

    Args:
        path: of the compressed file.

    Raises:
        OSError, ValueError: it can't be unpacked or is no recording.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._unpacked() as storage:
            self.connections, self.counts, self.begin = storage.connections, storage.counts, storage.begin
            #: as of the file in it
            self.damages = list(storage.damages)

    def messages(self, numbers: Collection[int]) -> Iterator[tuple[int, int, memoryview]]:
        """As of the file in it."""
        with self._unpacked() as storage:
            yield from storage.messages(numbers)
            self.damages += [damage for damage in storage.damages if damage not in self.damages]

    def close(self) -> None:
        """Nothing is left open between two readings."""

    @contextmanager
    def _unpacked(self) -> Iterator[McapFile | SqliteFile]:
        with tempfile.TemporaryDirectory(prefix="autogaze_") as folder:
            plain = Path(folder) / self._path.stem
            try:
                with self._path.open("rb") as packed, plain.open("wb") as out:
                    zstandard.ZstdDecompressor().copy_stream(packed, out)
            except zstandard.ZstdError as error:
                raise OSError(f"{self._path.name} can't be unpacked: {error}") from error
            storage = _opened(plain)
            try:
                yield storage
            finally:
                storage.close()


Storage = McapFile | SqliteFile | PackedFile


def _opened(file: Path) -> McapFile | SqliteFile:
    return McapFile(file) if file.suffix == ".mcap" else SqliteFile(file)


@dataclass(frozen=True, slots=True)
class BagImage:
    """One image message of a recording."""

    topic: str
    index: int
    log_time: int
    #: message type
    kind: str
    _data: memoryview = field(repr=False)

    def message(self) -> Any:
        """The message as rosbags reads it; its data is not copied.

        Raises:
            ImageError: these bytes are no such message.
        """
        data = self._data
        try:
            if bytes(data[:4]) == _ZSTANDARD:
                data = memoryview(zstandard.ZstdDecompressor().decompressobj().decompress(data))
            return type_store().deserialize_cdr(data, self.kind)
        except Exception as error:  # rosbags, struct, NumPy and Zstandard each raise their own
            raise ImageError("message", f"the message can't be read: {error}") from error

    def load(self) -> Loaded:
        """Decode it."""
        try:
            message = self.message()
        except ImageError as error:
            return Loaded(None, "", error)
        stamp, frame_id = stamp_of(message), message.header.frame_id
        try:
            raw = self.kind == IMAGE_TYPES[0]
            return Loaded(
                stamp, frame_id, frame_from_image(message) if raw else frame_from_compressed(message)
            )
        except ImageError as error:
            return Loaded(stamp, frame_id, error)


class BagInput(Input):
    """A rosbag2 recording.

    The files of a folder are read one after the other, in the order that metadata.yaml gives or by their names.

    Args:
        path: a folder, or one .mcap or .db3 file.

    Raises:
        ClipError: nothing of it can be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._files = self._find() if path.is_dir() else [path]
        self._storages: list[Storage] = []
        reasons = []
        for file in self._files:
            try:
                self._storages.append(PackedFile(file) if file.suffix == ".zstd" else _opened(file))
            except (OSError, ValueError) as error:
                self._say("file", f"{file.name} can't be read: {error}")
                reasons.append(f"{file.name}: {error}")
        if not self._storages:
            raise ClipError(
                f"{path} can't be read as a bag: {'; '.join(reasons) or 'it holds no storage file'}"
            )
        self._gather()

    @property
    def files(self) -> list[Path]:
        """The storage files, and metadata.yaml where it is there."""
        metadata = self.path / "metadata.yaml"
        return [*self._files, *([metadata] if metadata.is_file() else [])]

    @property
    def begin(self) -> int:
        """Nanoseconds of the first message of any topic."""
        return min((b for storage in self._storages if (b := storage.begin) is not None), default=0)

    def recorded(self, topics: Collection[str] | None = None) -> Iterator[BagImage]:
        """The image messages of some topics, in the order of recording."""
        wanted = set(self.topics if topics is None else topics)
        indices = dict.fromkeys(wanted, 0)
        last = 0
        for storage in self._storages:
            kinds = {
                number: (topic, kind)
                for number, (topic, kind) in storage.connections.items()
                if topic in wanted and kind in IMAGE_TYPES
            }
            for number, time, data in storage.messages(kinds) if kinds else ():
                topic, kind = kinds[number]
                index = indices[topic]
                indices[topic] = index + 1
                last = max(last, time)  # files and salvaged rows may overlap in time
                yield BagImage(topic, index, last, kind, data)
            self._take_damages(storage)

    def __enter__(self) -> BagInput:
        return self

    def close(self) -> None:
        """Close the files."""
        for storage in self._storages:
            storage.close()

    def _find(self) -> list[Path]:
        """The storage files of the folder, in order."""
        found = sorted(
            (
                f
                for f in self.path.iterdir()
                if {f.suffix, Path(f.stem).suffix} & BAG_SUFFIXES and _is_data(f)
            ),
            key=natural,
        )
        metadata = self.path / "metadata.yaml"
        if not metadata.exists():
            self._say("metadata", "metadata.yaml is missing; the recorder did not end properly")
            return found
        try:
            information = yaml.safe_load(metadata.read_bytes())["rosbag2_bagfile_information"]
            listed = [self.path / PurePath(name).name for name in information["relative_file_paths"]]
        except (OSError, yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
            self._say("metadata", f"metadata.yaml can't be read: {' '.join(str(error).split())}")
            return found
        # Older versions list a compressed file without the compression's suffix.
        listed = [f if f.exists() or not (z := f.with_name(f.name + ".zstd")).exists() else z for f in listed]
        for file in listed:
            if not file.exists():
                self._say("file", f"{file.name} is missing, though metadata.yaml lists it")
        return [file for file in listed if file.exists()] or found

    def _gather(self) -> None:
        """Names, types and counts of the topics of all files."""
        counts: dict[str, int | None] = {}
        kinds: dict[str, str] = {}
        for storage in self._storages:
            for number, (topic, kind) in storage.connections.items():
                if kind not in IMAGE_TYPES:
                    self.others[topic] = kind
                    continue
                if kinds.setdefault(topic, kind) != kind:
                    self._say("type", f"topic {topic} changes its type from {kinds[topic]} to {kind}")
                before = counts.get(topic, 0)
                # A cut SQLite file can't be counted without reading it.
                known = before is not None and (bool(storage.counts) or not storage.damages)
                counts[topic] = (before or 0) + storage.counts.get(number, 0) if known else None
            self._take_damages(storage)
        self.topics = {topic: Topic(kinds[topic], counts[topic]) for topic in kinds}
        for topic in set(self.topics) & set(self.others):
            self._say(
                "type", f"topic {topic} has messages of type {self.others[topic]} too; they are left out"
            )
            del self.others[topic]

    def _take_damages(self, storage: Storage) -> None:
        for cause, text in storage.damages:
            problem = Problem("", None, None, cause, text)
            if problem not in self.problems:
                self.problems.append(problem)


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts names with numbers in them as people do: a_2 before a_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _is_data(file: Path) -> bool:
    """Whether a file is a storage file and not one that SQLite keeps beside it."""
    return file.is_file() and file.suffix in (*BAG_SUFFIXES, ".zstd")
