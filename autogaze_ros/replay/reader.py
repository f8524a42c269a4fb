"""Images of recordings, videos and folders, in the order in which they were recorded. No ROS.

``open_input`` takes whatever a user has; what it returns names its image topics and yields their images.
What is broken is named as a :class:`Problem`, and the rest is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..gaze.frame import Frame
from ..images import ImageError
from .clips import ClipError

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".webp"))
BAG_SUFFIXES = frozenset((".mcap", ".db3"))
#: Topics of pictures beside a gaze_node's fixations.
DRAWN = ("overlay", "overlay/compressed", "reconstruction", "reconstruction/compressed", "mask_image")


@dataclass(frozen=True)
class Problem:
    """Something wrong with an input or with one of its images."""

    #: empty where the whole input is meant
    topic: str
    #: of the image on its topic; None where no single one is meant
    index: int | None
    #: nanoseconds of the image; None where it could not be read
    stamp: int | None
    #: a short key for counting
    cause: str
    #: for people
    text: str


@dataclass(frozen=True)
class Loaded:
    """An image once it is decoded."""

    #: nanoseconds, the image's own; None where the message can't be read
    stamp: int | None
    frame_id: str
    #: the image, or why there is none
    frame: Frame | ImageError


class Recorded(Protocol):
    """One image as it was found, not decoded yet."""

    @property
    def topic(self) -> str:
        """Name of its topic."""
        ...

    @property
    def index(self) -> int:
        """Ordinal of the image on its topic, from 0; bad ones count, so what is left out leaves gaps."""
        ...

    @property
    def log_time(self) -> int:
        """Nanoseconds at which it was recorded, which never goes back."""
        ...

    def load(self) -> Loaded:
        """Decode it."""
        ...


@dataclass(frozen=True)
class Topic:
    """An image topic of an input."""

    #: message type; empty where the images came from no message
    kind: str
    #: how many images; None where that is not known
    count: int | None


class Input(ABC):
    """Something that images can be read from, again and again. Use as a context manager, or close it.

    Args:
        path: of the file or folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: what is wrong with the input as a whole; grows while it is read
        self.problems: list[Problem] = []
        #: the image topics
        self.topics: dict[str, Topic] = {}
        #: message types of the other topics
        self.others: dict[str, str] = {}

    @property
    @abstractmethod
    def files(self) -> list[Path]:
        """The files that it consists of."""

    @property
    @abstractmethod
    def begin(self) -> int:
        """Nanoseconds at which the recording begins; 0 where nothing is in it."""

    @abstractmethod
    def recorded(self, topics: Collection[str] | None = None) -> Iterator[Recorded]:
        """The images of some topics (all where None) in the order of recording."""

    def images(self, topic: str | None = None) -> Iterator[tuple[str, int, int, str, Frame | Problem]]:
        """Topic, index, stamp in nanoseconds, frame id and frame of each image, in the order of recording.

        Where an image can't be used its problem comes in place of the frame, and the stamp is 0 if even that
        can't be read.

        Args:
            topic: only this one.

        Raises:
            ClipError: there is no such image topic.
        """
        if topic is not None:
            self.choose([topic])
        for item in self.recorded(None if topic is None else [topic]):
            loaded = item.load()
            frame: Frame | Problem
            if isinstance(loaded.frame, ImageError):
                error = loaded.frame
                frame = Problem(item.topic, item.index, loaded.stamp, error.cause, str(error))
            else:
                frame = loaded.frame
            yield item.topic, item.index, loaded.stamp or 0, loaded.frame_id, frame

    def choose(self, topics: Collection[str]) -> list[str]:
        """Those of the named topics that are image topics, all image topics where none is named, by name.

        What is no image topic becomes a problem as long as there is one that is; and so do pictures that
        a gaze_node drew, which are taken where they are named or there are no others.

        Raises:
            ClipError: not one image topic is left.
        """
        topics = {f"/{name.strip('/')}" for name in topics}
        chosen = sorted(topics & set(self.topics)) if topics else self._cameras()
        if not chosen:
            wanted = f" {', '.join(sorted(topics))}" if topics else " at all"
            raise ClipError(
                f"{self.path} has no image topic{wanted}; its image topics: {', '.join(sorted(self.topics)) or 'none'}"
            )
        for name in sorted(topics - set(chosen)):
            kind = self.others.get(name)
            text = f"topic {name} is of type {kind}, not images" if kind else f"there is no topic {name}"
            self._say("type" if kind else "topic", text)
        return chosen

    def _cameras(self) -> list[str]:
        """The image topics but a gaze_node's own, or all where there are no others."""
        if not self.others:
            return sorted(self.topics)
        from .cdr import FIXATIONS  # which a video, without other topics, does without

        fixations = (name for name, kind in self.others.items() if kind == FIXATIONS)
        nodes = [name.removesuffix("fixations") for name in fixations if name.endswith("/fixations")]
        drawn = sorted({f"{node}{output}" for node in nodes for output in DRAWN} & set(self.topics))
        cameras = sorted(set(self.topics) - set(drawn))
        for name in drawn:
            done = "left out; name it to gaze at it" if cameras else "gazed at for want of others"
            self._say("drawn", f"topic {name} shows what a gaze_node drew: {done}")
        return cameras or drawn

    def _say(self, cause: str, text: str) -> None:
        problem = Problem("", None, None, cause, text)
        if problem not in self.problems:
            self.problems.append(problem)

    def close(self) -> None:
        """Let files go."""
        return

    def __enter__(self) -> Input:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_input(path: Path | str, rate: float = 30.0) -> Input:
    """Open a recording, a video or a folder of images.

    Args:
        path: a rosbag2 folder with or without metadata.yaml, an .mcap or .db3 file, a video file, or a folder of
            images, which are taken in the order of their names.
        rate: images a second of a folder of images.

    Raises:
        ClipError: it is none of these, or can't be read; the message says why.
    """
    from .bag import BagInput
    from .pictures import FolderInput, VideoInput

    path = Path(path)
    if path.is_dir():
        names = list(path.iterdir())
        if (path / "metadata.yaml").exists() or any(_suffix(name) in BAG_SUFFIXES for name in names):
            return BagInput(path)
        if any(name.suffix.lower() in IMAGE_SUFFIXES and name.is_file() for name in names):
            return FolderInput(path, rate)
        raise ClipError(f"{path} can't be read as a bag: it holds neither .mcap or .db3 files nor images")
    if not path.exists():
        raise ClipError(f"{path} can't be read as a bag or a video: there is no such file")
    if _suffix(path) in BAG_SUFFIXES:
        return BagInput(path)
    if path.suffix == ".bag":
        raise ClipError(
            f"{path} can't be read as a bag: it is one of ROS 1; convert it with rosbags-convert --src {path} --dst ..."
        )
    return VideoInput(path)


def _suffix(path: Path) -> str:
    """The suffix before that of a compression."""
    return Path(path.stem).suffix if path.suffix == ".zstd" else path.suffix
