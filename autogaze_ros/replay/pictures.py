"""Videos and folders of images as inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..gaze.frame import Frame
from ..images import ImageError, decoded
from .bag import natural
from .clips import open_video
from .reader import IMAGE_SUFFIXES, Input, Loaded, Topic

FRAME_ID = "camera"


@dataclass(frozen=True, slots=True)
class Picture:
    """One image that came without a message."""

    topic: str
    index: int
    #: also its stamp
    log_time: int
    _decode: Callable[[int], Frame] = field(repr=False)

    def load(self) -> Loaded:
        """Decode it."""
        try:
            return Loaded(self.log_time, FRAME_ID, self._decode(self.log_time))
        except ImageError as error:
            return Loaded(self.log_time, FRAME_ID, error)


class VideoInput(Input):
    """A video file as the topic /video; stamps are the file's own times.

    Args:
        path: any container and codec that FFmpeg reads.

    Raises:
        ClipError: it can't be opened or holds no video.
    """

    TOPIC = "/video"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with open_video(path) as container:
            count = container.streams.video[0].frames
        self.topics = {self.TOPIC: Topic("", count or None)}

    @property
    def files(self) -> list[Path]:
        """The file."""
        return [self.path]

    @property
    def begin(self) -> int:
        """Time of the first frame, in nanoseconds."""
        return next((item.log_time for item in self.recorded()), 0)

    def recorded(self, topics: Collection[str] | None = None) -> Iterator[Picture]:
        """The frames; a packet that can't be decoded is one as well, so that it is counted."""
        import av

        with open_video(self.path) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 30)
            index, last = 0, -1
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except av.error.FFmpegError as error:
                    self._say("cut", f"{self.path.name} ends in the middle: {error}")
                    return
                if packet is None:
                    return
                try:
                    frames = packet.decode()
                except av.error.EOFError:
                    return
                except av.error.FFmpegError as error:
                    # Its time may lie after that of frames still to come, as packets come in another order.
                    last = last if last >= 0 else _time(packet, index, rate)
                    yield Picture(self.TOPIC, index, last, _failing(str(error)))
                    index += 1
                    continue
                for frame in frames:
                    last = max(_time(frame, index, rate), last)
                    yield Picture(self.TOPIC, index, last, _decoder(frame))
                    index += 1


def _time(item: Any, index: int, rate: float) -> int:
    """Nanoseconds of a frame or packet, by its number where it has no time of its own."""
    own = item.pts is not None and item.time_base
    return int(item.pts * item.time_base * 1_000_000_000) if own else round(index / rate * 1e9)


def _decoder(picture: Any) -> Callable[[int], Frame]:
    return lambda stamp: Frame(picture.to_ndarray(format="rgb24"), stamp, "rgb", "rgb8")


def _failing(text: str) -> Callable[[int], Frame]:
    def fail(stamp: int) -> Frame:
        raise ImageError("undecodable", f"the video's packet can't be decoded: {text}")

    return fail


class FolderInput(Input):
    """A folder of images as the topic /images, in the order of their names.

    Args:
        path: the folder.
        rate: images a second.
    """

    TOPIC = "/images"

    def __init__(self, path: Path, rate: float) -> None:
        super().__init__(path)
        self._rate = rate
        named = sorted((f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES), key=natural)
        self._files = [f for f in named if f.is_file()]
        for missing in set(named) - set(self._files):
            if not missing.is_dir():  # a folder is none of the images, whatever its name
                self._say("file", f"{missing.name} leads to no file")
        self.topics = {self.TOPIC: Topic("", len(self._files))}

    @property
    def files(self) -> list[Path]:
        """The images."""
        return self._files

    @property
    def begin(self) -> int:
        """The first image's time: 0."""
        return 0

    def recorded(self, topics: Collection[str] | None = None) -> Iterator[Picture]:
        """The images."""
        for index, file in enumerate(self._files):
            yield Picture(self.TOPIC, index, round(index / self._rate * 1e9), _reader(file))


def _reader(file: Path) -> Callable[[int], Frame]:
    def read(stamp: int) -> Frame:
        try:
            pixels = decoded(np.fromfile(file, np.uint8))
        except OSError as error:
            raise ImageError("undecodable", f"{file.name} can't be read: {error}") from error
        if pixels is None:
            raise ImageError("undecodable", f"{file.name} is cut off or can't be decoded")
        # Images of several formats are one stream all the same; a change of encoding would start it afresh.
        return Frame(pixels, stamp, "bgr", "bgr8")

    return read
